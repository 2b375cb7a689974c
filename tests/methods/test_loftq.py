"""LoftQ: codes and factors that together are closer to W than the codes alone."""

from itertools import pairwise

import numpy as np
import pytest

from methods.tiny import a_model, rng, some_batch
from minilora.layers import QuantizedParameter
from minilora.layers.quantized import pack_nf4, pack_q8_0
from minilora.methods import LoRAConfig, apply_loftq, apply_lora, load_adapter, quantize, save_adapter
from minilora.methods.lora.loftq import loftq
from minilora.methods.quantization import block_linears

CONFIG = LoRAConfig(rank=4, alpha=2, targets=("q_proj", "down_proj"))


def a_matrix(O=48, I=64):
    return rng(0).standard_normal((O, I)).astype("float32")


@pytest.mark.parametrize("pack", [pack_nf4, pack_q8_0])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_error_falls_with_the_steps_and_is_what_is_left(pack, scale):
    W = a_matrix()
    alone = np.linalg.norm(W - pack(W).values())
    left = []
    for steps in range(1, 7):
        found = loftq(W, 4, scale, pack, steps)
        left.append(float(np.linalg.norm(W - found.packed.values() - scale * (found.B @ found.A))))
        assert len(found.errors) == steps and left[-1] == pytest.approx(min(found.errors), rel=1e-5)
        assert found.B.shape == (48, 4) and found.A.shape == (4, 64) and found.A.dtype == np.float32
    assert all(b <= a * (1 + 1e-6) for a, b in pairwise(left))
    assert left[-1] < left[0] < alone


def test_the_first_step_is_the_best_that_a_rank_can_do_beside_the_codes():
    W = a_matrix()
    found = loftq(W, 4, 0.5, pack_nf4, 1)
    values = np.linalg.svd(W - pack_nf4(W).values(), compute_uv=False)
    assert found.errors[0] == pytest.approx(float(np.sqrt((values[4:] ** 2).sum())), rel=1e-5)


def test_each_step_of_factors_lowers_the_error():
    """With the codes of a step, the new factors are better than those that the codes were made for."""
    W, correction, pairs = a_matrix(), np.zeros((48, 64), "float32"), []
    for steps in range(1, 5):
        found = loftq(W, 4, 1.0, pack_nf4, steps)
        before = np.linalg.norm(W - pack_nf4(W - correction).values() - correction)
        pairs.append((found.errors[-1], before))
        correction = found.B @ found.A
    assert pairs[0][0] < pairs[0][1]
    assert all(after <= before * (1 + 1e-6) for after, before in pairs)


def test_it_starts_closer_to_the_model_that_was_quantised():
    batch = some_batch(N=4, T=7)
    losses, logits = {}, {}
    for start in ("float32", "lora", "loftq"):
        model = a_model()
        if start == "loftq":
            apply_loftq(model, CONFIG)
        elif start == "lora":
            quantize(model)
            apply_lora(model, CONFIG, rng=rng(0))
        losses[start], logits[start] = float(model.loss(batch)[0]), model.forward(batch.ids)[0]
    distance = {start: np.linalg.norm(logits[start] - logits["float32"]) for start in ("lora", "loftq")}
    assert 0 < distance["loftq"] < distance["lora"]


def test_targets_get_both_and_the_rest_codes():
    model, original = a_model(), block_linears(a_model())
    apply_loftq(model, CONFIG, steps=2)
    for path, layer in block_linears(model).items():
        W = original[path].W.data
        assert isinstance(layer.W, QuantizedParameter) and layer.W.original_id
        if not path.endswith(CONFIG.targets):
            assert np.array_equal(layer.W.data, pack_nf4(W).values())
    attn = model.blocks[0].attn
    W = original["blocks.0.attn.q_proj"].W.data
    with_it, alone = attn.q_proj.base.W.data + attn.q_proj.delta_W(), pack_nf4(W).values()
    assert np.linalg.norm(W - with_it) < 0.9 * np.linalg.norm(W - alone)
    assert [p.name.rpartition(".")[2] for p in model.trainable_parameters()] == ["A", "B"] * 4


def test_its_adapter_fits_the_base_that_the_same_call_makes(tmp_path):
    model, again = a_model(), a_model()
    apply_loftq(model, CONFIG)
    model.blocks[0].attn.q_proj.A.data += 1
    save_adapter(model, tmp_path / "adapter")
    apply_loftq(again, CONFIG)
    load_adapter(again, tmp_path / "adapter", name="trained")  # a warning would be an error
    batch = some_batch(N=4, T=7)
    assert float(again.loss(batch)[0]) == float(model.loss(batch)[0])
    other = a_model()
    quantize(other)
    with pytest.warns(UserWarning, match="was trained on this base quantised otherwise"):
        load_adapter(other, tmp_path / "adapter")


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (LoRAConfig(dora=True), {}, "for LoftQ it must have none"),
        (LoRAConfig(alpha=0), {}, "for LoftQ it must have none"),
        (CONFIG, {"steps": 0}, "steps was 0; it must be an integer from 1 to 100"),
        (CONFIG, {"bits": 3}, "bits was 3"),
        (LoRAConfig(rank=2, targets=("lm_head",)), {}, "targets named lm_head, which is not a matrix of a block"),
        (LoRAConfig(rank=2, besides=("magic",)), {}, "besides named 'magic'"),
        (LoRAConfig(rank=2, alpha=1e300), {}, r"scale = 5e\+299 must be at most"),
    ],
)
def test_refusals(config, options, message):
    model = a_model()
    with pytest.raises(ValueError, match=message):
        apply_loftq(model, config, **options)
    assert not any(isinstance(p, QuantizedParameter) for p in model.parameters())
