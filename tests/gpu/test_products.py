"""On a GPU, products in bfloat16 round their factors and nothing else, and a step goes where it goes in float32."""

import numpy as np
import pytest

from device_models import BATCH, gradients
from methods.tiny import rng
from minilora import GPT, GPTConfig, LoRAConfig, apply_lora
from minilora.arrays.backend import to_device, to_numpy
from minilora.arrays.products import gpu_products, product
from minilora.interop.foreign_files import to_bfloat16
from minilora.training import loss_and_backward

pytestmark = pytest.mark.gpu


def on_gpu(x, transposed):
    return to_device(x.T.copy(), "gpu").T if transposed else to_device(x, "gpu")


@pytest.mark.parametrize("transposed", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("shape", [(512, 768, 640), (37, 41, 43), (1, 64, 5)])
def test_a_product_is_that_of_the_rounded_factors(shape, transposed):
    M, I, O = shape
    a, b = (rng(seed).standard_normal(shape).astype("float32") for seed, shape in ((1, (M, I)), (2, (I, O))))
    expected = np.matmul(*((to_bfloat16(x).astype("uint32") << 16).view("float32").astype("float64") for x in (a, b)))
    with gpu_products("bfloat16"):
        y = to_numpy(product(on_gpu(a, transposed[0]), on_gpu(b, transposed[1])))
    assert y.dtype == np.float32 and y.shape == (M, O)
    assert np.linalg.norm(y - expected) <= 1e-5 * np.linalg.norm(expected)


def test_a_step_in_bfloat16_is_near_that_in_float32():
    config = GPTConfig(vocab_size=11, n_positions=8, n_layer=2, d_model=64, n_head=2)
    losses, grads = [], []
    for name in ("float32", "bfloat16"):
        model = GPT(config, rng(1), device="gpu")
        apply_lora(model, LoRAConfig(rank=2, alpha=2), rng=rng(2))
        with gpu_products(name):
            losses.append(float(to_numpy(loss_and_backward(model, BATCH))))
        grads.append({key: to_numpy(gradient) for key, gradient in gradients(model).items()})
    assert losses[1] != losses[0] and losses[1] == pytest.approx(losses[0], rel=1e-2)
    for name, gradient in grads[0].items():
        assert grads[1][name].dtype == np.float32
        assert np.linalg.norm(grads[1][name] - gradient) <= 0.1 * np.linalg.norm(gradient), name
