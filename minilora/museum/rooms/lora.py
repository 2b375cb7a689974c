"""Room 1: LoRA's own lines."""

import math
from typing import Any

import numpy

from minilora.methods.lora import lora_scale
from minilora.methods.lora.apply import _draw_factors, make_factors, shape_of
from minilora.museum import checks
from minilora.museum.exhibit import Exhibit, Slip, known
from minilora.ops import dora_linear_backward, dora_linear_forward, fast, lora_linear_backward
from minilora.ops.dora_linear import row_norm


def without_mask_in_dx(dy: Any, cache: Any) -> Any:
    _, _, W, A, B, scale, _ = cache
    _, dA, dB = lora_linear_backward(dy, cache)
    return dy @ W + scale * (dy @ B) @ A, dA, dB


def alpha_alone(alpha: float, rank: int, rslora: bool = False) -> float:
    return float(alpha)


def drawn_as(B_of: Any, A_of: Any) -> Any:
    """New factors, with a B from B_of(rng, O, r), and an A that A_of makes of the right one."""

    def draw(path: str, layer: Any, config: Any, rng: numpy.random.Generator) -> Any:
        (O, I), r = shape_of(layer), config.rank_of(path)
        A = rng.uniform(-1.0 / math.sqrt(I), 1.0 / math.sqrt(I), (r, I))
        return make_factors(path, layer, config, A=A_of(A), B=B_of(rng, O, r), m=None)

    return draw


random_B = drawn_as(lambda rng, O, r: rng.uniform(-1.0 / math.sqrt(r), 1.0 / math.sqrt(r), (O, r)), lambda A: A)
both_zero = drawn_as(lambda rng, O, r: numpy.zeros((O, r)), numpy.zeros_like)


def norm_of_W(
    x: Any, W: Any, bias: Any, A: Any, B: Any, m: Any, scale: float, dropout_mask: Any = None, norm: Any = None
) -> Any:
    return dora_linear_forward(x, W, bias, A, B, m, scale, dropout_mask, row_norm(W))


def frozen_m(dy: Any, cache: Any) -> Any:
    *grads, dm = dora_linear_backward(dy, cache)
    return *grads, 0.0 * dm


scaled_u = known("dora_backward", "the one with y - bias for u: it has m in it")


def dm_of_scaled_u(dy: Any, cache: Any) -> Any:
    return scaled_u(dy, cache[:-1])


ROOM = (
    Exhibit(
        name="dropout-mask-left-out-of-dx",
        title="Dropout's mask, left out of dx",
        link="https://github.com/foundation-model-stack/fms-acceleration/issues/97",
        says="Fused LoRA kernels used the dropped-out input for the weights' gradients, but let the gradient of the "
        "input through where the input had been dropped.",
        place=lora_linear_backward,
        right="dx_lora = dh @ A if dropout_mask is None else (dh @ A) * dropout_mask",
        wrong="dx_lora = dh @ A",
        instead=((fast.lora_linear_backward, without_mask_in_dx),),
        scene="dropout",
        check=checks.of_op("lora_linear"),
    ),
    Exhibit(
        name="alpha-for-alpha-over-r",
        title="alpha, where alpha / r belongs",
        link="https://github.com/rasbt/LLMs-from-scratch/issues/821",
        says="A textbook's LoRA layer multiplied by alpha alone, so that the update grew with the rank.",
        place=lora_scale,
        right="alpha / math.sqrt(rank) if rslora else alpha / rank",
        wrong="alpha",
        instead=((lora_scale, alpha_alone),),
        scene="lora",
        check=checks.SCALE,
        slip=Slip("lora_start", "scale = alpha / rank", "scale = alpha", "alpha, without dividing by r"),
    ),
    Exhibit(
        name="b-drawn-like-a",
        title="B drawn at random",
        link="https://github.com/hao-ai-lab/FastVideo/pull/781",
        says="B was made zero, and then initialised again with random numbers, so that the adapted model was not the "
        "base at the start.",
        place=_draw_factors,
        right="B=numpy.zeros((O, r))",
        wrong="B=rng.uniform(-1.0 / math.sqrt(r), 1.0 / math.sqrt(r), (O, r))",
        instead=((_draw_factors, random_B),),
        scene="lora",
        check=checks.START,
        slip=Slip(
            "lora_start",
            "B = np.zeros((O, rank))",
            "B = rng.uniform(-1 / np.sqrt(rank), 1 / np.sqrt(rank), (O, rank))",
            "one drawn between -1 / sqrt(r) and 1 / sqrt(r): delta_W would not be zero at the start",
        ),
    ),
    Exhibit(
        name="a-zero-too",
        title="A zero, and B zero",
        link="https://github.com/nvidia-cosmos/cosmos-predict2.5/pull/15",
        says="The model's initialisation ran after LoRA had been added and made A zero as well as B, so that neither "
        "ever got a gradient.",
        place=_draw_factors,
        right="A = rng.uniform(-1.0 / math.sqrt(I), 1.0 / math.sqrt(I), (r, I))",
        wrong="A = numpy.zeros((r, I))",
        instead=((_draw_factors, both_zero),),
        scene="lora",
        check=checks.FIRST_GRADIENT,
        slip=Slip(
            "lora_start",
            "A = rng.uniform(-bound, bound, (rank, I))",
            "A = np.zeros((rank, I))",
            "zero: A is the one that is drawn, and B the one that is zero",
        ),
    ),
    Exhibit(
        name="dora-norm-of-the-base",
        title="DoRA divided by the norm of W",
        link="https://github.com/Comfy-Org/ComfyUI/pull/15458",
        says="One branch of a DoRA implementation divided W + delta_W by the norm of W alone, and not by the norm of "
        "the sum.",
        place=dora_linear_forward,
        right="norm = row_norm(V) if norm is None else norm",
        wrong="norm = row_norm(W)",
        instead=((fast.dora_linear_forward, norm_of_W),),
        scene="dora",
        check=checks.ROW_LENGTHS,
    ),
    Exhibit(
        name="dora-m-not-trained",
        title="DoRA's m, never trained",
        link="https://github.com/meta-pytorch/torchtune/issues/2250",
        says="After another repair, the magnitudes of DoRA were no longer updated, and its loss curve was LoRA's.",
        place=dora_linear_backward,
        right="dm = dgain / norm",
        wrong="dm = 0.0 * dgain / norm",
        instead=((fast.dora_linear_backward, frozen_m),),
        scene="dora",
        check=checks.of_op("dora_linear"),
        slip=Slip("dora_backward", "dm = dgain / norm", "dm = 0.0 * dgain / norm", "zero everywhere"),
    ),
    Exhibit(
        name="dora-m-scaled-twice",
        title="DoRA's dm from what was scaled already",
        link="https://github.com/axolotl-ai-cloud/axolotl/pull/3528",
        says="A kernel under review kept its result after multiplying it by m / norm, and so had that factor twice in "
        "the gradient of m.",
        place=dora_linear_backward,
        right="dm = dgain / norm",
        wrong="dm = dgain * m / norm**2",
        instead=((fast.dora_linear_backward, dm_of_scaled_u),),
        scene="dora",
        check=checks.of_op("dora_linear"),
        slip=Slip(
            "dora_backward",
            "dm = dgain / norm",
            "dm = dgain * m / norm**2",
            "the one with y - bias for u: it has m in it",
        ),
    ),
)
