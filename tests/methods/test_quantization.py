"""QLoRA: a base in a few bits has the gradients of a base that holds those numbers in float32, to the bit."""

import numpy as np
import pytest

from methods.tiny import SIZES, a_model, rng, same_bits, some_batch, with_B
from minilora.arrays.finite import check_finite
from minilora.layers import Linear, Packed, QuantizedParameter
from minilora.layers.quantized import pack_nf4
from minilora.methods import (
    LoRAConfig,
    adapters_per_row,
    apply_full,
    apply_lora,
    apply_method,
    merge_lora,
    quantization_of,
    quantize,
    remove_lora,
    set_adapter,
    unmerge_lora,
)
from minilora.methods.quantization import block_linears
from minilora.models import generate, weights_hash
from minilora.models.recompute import recomputed
from minilora.ops import plain_ops
from minilora.training.objective import DataParallel
from models.tiny_encoders import tiny as tiny_encoder
from models.tiny_llama import tiny_llama

LORA = LoRAConfig(rank=2, alpha=3, targets=("q_proj", "v_proj", "o_proj"), dropout=0.1)
KINDS = ("nf4", "q4_1", "q8_0")


def pair(bits="nf4", kind="llama", dtype="float32", config=LORA, **options):
    """A quantised model, and one that holds the same numbers in float32; each with the same adapter."""
    quantized, plain = a_model(kind, dtype), a_model(kind, dtype)
    quantize(quantized, bits, **options)
    for path, layer in block_linears(plain).items():
        layer.W.data = block_linears(quantized)[path].W.data
    for model in (quantized, plain):
        apply_lora(model, config, rng=rng(1))
        with_B(model)
    return quantized, plain


def gradients(model, **options):
    """The loss and the gradients of every trained parameter, dropout included."""
    batch = some_batch(N=4, T=7)
    model.zero_grad()
    with DataParallel(model, **options) as objective:
        loss = objective.loss_and_backward(batch, rng(5))
    return {"loss": np.asarray(loss), **{p.name: p.grad for p in model.trainable_parameters()}}


# ---- the gradients


@pytest.mark.parametrize("bits", KINDS)
@pytest.mark.parametrize("kind", ["llama", "gpt"])
def test_loss_and_gradients_are_those_of_the_dequantized_base_to_the_bit(bits, kind):
    quantized, plain = pair(bits, kind)
    ours = gradients(quantized)
    assert len(ours) == 1 + 2 * 3 * 2 and all(np.abs(g).max() > 0 for g in ours.values())
    assert same_bits(ours, gradients(plain))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_without_the_engine_with_threads_and_recomputed(dtype):
    quantized, plain = pair(dtype=dtype)
    assert same_bits(gradients(quantized, threads=3), gradients(plain, threads=3))
    assert same_bits(gradients(quantized, accumulation=2), gradients(plain, accumulation=2))
    with recomputed(quantized, True):
        assert same_bits(gradients(quantized), gradients(plain))
    with plain_ops():
        assert same_bits(gradients(quantized), gradients(plain))


@pytest.mark.parametrize("config", [LoRAConfig(dora=True, rank=2), LoRAConfig(dora=True, dora_exact=True, rank=2)])
def test_dora_too(config):
    quantized, plain = pair(config=config)
    assert same_bits(gradients(quantized), gradients(plain))


def test_dx_is_to_the_bit():
    quantized, plain = pair()
    x, dy = rng(0).standard_normal((2, 3, 32)).astype("float32"), rng(1).standard_normal((2, 3, 32)).astype("float32")
    found = []
    for model in (quantized, plain):
        for layer in (model.blocks[0].attn.q_proj, model.blocks[0].attn.k_proj):  # with an adapter, and without
            y, cache = layer.forward(x)
            found.append(layer.backward(dy[..., : y.shape[-1]], cache))
    assert same_bits(found[0], found[2]) and same_bits(found[1], found[3])


def test_an_encoder_but_not_its_head():
    from minilora.models import RobertaForClassification

    model = tiny_encoder(RobertaForClassification, "float32")
    quantize(model)
    assert all(isinstance(layer.W, QuantizedParameter) for layer in block_linears(model).values())
    assert not any(isinstance(p, QuantizedParameter) for p in model.head.parameters())


def damaged(kind):
    """NF4 as a mistake would unpack it."""

    def unpack(codes, scale_codes, absmax2, mean, shape):
        from minilora.ops import QuantizedScales, dequantize_nf4, dequantize_scales

        if kind == "the codes swapped in each byte":
            codes = codes >> 4 | codes << 4
        if kind == "scales without their mean":
            mean = mean * 0
        scales = dequantize_scales(QuantizedScales(scale_codes, absmax2, mean))
        if kind == "the scale of the block before":
            scales = np.roll(scales, 1)
        W = dequantize_nf4(codes, scales, shape)
        return W.T.reshape(shape) if kind == "blocks down the columns" else W

    return unpack


@pytest.mark.parametrize(
    "mistake",
    [
        "the codes swapped in each byte",
        "scales without their mean",
        "the scale of the block before",
        "blocks down the columns",
    ],
)
def test_a_mistake_in_one_matrix_is_found(mistake):
    quantized, plain = pair()
    layer = quantized.blocks[1].mlp.up_proj
    packed = layer.W.packed
    assert np.array_equal(damaged("none")(*packed.arrays, packed.shape), packed.values())
    layer.W.packed = Packed("nf4", packed.arrays, packed.shape, damaged(mistake))
    assert not same_bits(gradients(quantized), gradients(plain))


# ---- what is kept


def arrays_in(cache):
    if isinstance(cache, dict):
        cache = tuple(cache.values())
    if isinstance(cache, (tuple, list)):
        return [array for part in cache for array in arrays_in(part)]
    return [cache] if isinstance(cache, np.ndarray) else []


@pytest.mark.parametrize("kind", ["llama", "gpt"])
def test_no_cache_keeps_a_matrix(kind):
    quantized, plain = pair(kind=kind)
    batch = some_batch(N=4, T=7)
    shapes = {layer.W.shape for layer in block_linears(quantized).values()}
    kept = {name: arrays_in(model.loss(batch)[1]) for name, model in (("plain", plain), ("quantized", quantized))}
    assert sum(array.shape in shapes for array in kept["plain"]) >= 12
    assert not [array.shape for array in kept["quantized"] if array.shape in shapes]


def test_weights_take_a_fifth_of_float32_at_most():
    model = tiny_llama(dtype="float32", **SIZES | {"d_model": 256, "n_head": 8, "d_mlp": 1024}, head_size=32)
    before = {path: layer.W.data for path, layer in block_linears(model).items()}
    original = sum(p.nbytes for p in model.parameters())
    quantize(model)
    told = quantization_of(model)
    assert told["bytes"] == sum(p.nbytes for p in model.parameters()) <= 0.2 * original == 0.2 * told["bytes_float32"]
    assert told["matrices"] == {"nf4": 14} and 4.12 < told["bits_per_number"] < 4.14
    for path, layer in block_linears(model).items():
        assert layer.W.nbytes == sum(array.nbytes for array in layer.W.held) < 0.14 * before[path].nbytes
        assert np.linalg.norm(layer.W.data - before[path]) < 0.11 * np.linalg.norm(before[path])


def test_replicas_share_the_codes():
    model, _ = pair()
    twin = model.replica()
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert one is not other and all(a is b for a, b in zip(one.held, other.held, strict=True))


def test_single_quantisation_and_float64():
    model = a_model(dtype="float64")
    W = block_linears(model)["blocks.0.attn.q_proj"].W.data
    quantize(model, double=False)
    layer = block_linears(model)["blocks.0.attn.q_proj"]
    assert layer.W.data.dtype == np.float64 and layer.W.dtype == np.float64
    assert np.array_equal(layer.W.data, pack_nf4(W.astype("float32"), double=False).values())


# ---- frozen, merged, generated


def test_it_stays_frozen():
    model, _ = pair()
    layer = block_linears(model)["blocks.0.attn.k_proj"]
    layer.W.trainable = False
    with pytest.raises(ValueError, match=r"blocks.0.attn.k_proj.W, which is kept in nf4, was made trainable; it must"):
        layer.W.trainable = True
    with pytest.raises(ValueError, match="was given new values; it must keep its own"):
        layer.W.data = np.zeros((32, 32))
    assert "in nf4" in repr(layer.W)


@pytest.mark.parametrize("method", ["full", "top-k"])
def test_methods_that_would_train_it(method):
    model = a_model()
    quantize(model)
    if method == "top-k":  # it trains copies of the last block, in float32
        apply_method(model, method)
        assert not any(isinstance(p, QuantizedParameter) for p in model.blocks[1].parameters())
        return
    trainable = [p.trainable for p in model.parameters()]
    with pytest.raises(ValueError, match="is quantised; it must stay frozen"):
        apply_method(model, method)
    assert [p.trainable for p in model.parameters()] == trainable


def test_merging_makes_float32_and_unmerging_brings_the_codes_back():
    quantized, plain = pair()
    batch = some_batch(N=4, T=7)
    codes = quantized.blocks[0].attn.q_proj.base.W
    for model in (quantized, plain):
        merge_lora(model)
    assert same_bits(quantized.loss(batch)[0], plain.loss(batch)[0])
    unmerge_lora(quantized)
    assert quantized.blocks[0].attn.q_proj.base.W is codes
    merge_lora(quantized)
    remove_lora(quantized)
    assert not isinstance(quantized.blocks[0].attn.q_proj.W, QuantizedParameter)
    assert isinstance(quantized.blocks[0].attn.k_proj.W, QuantizedParameter)
    assert same_bits(quantized.loss(batch)[0], plain.loss(batch)[0])


def test_generation_rows_and_switching():
    quantized, plain = pair()
    assert weights_hash(quantized) == weights_hash(plain)
    prompt = np.array([[1, 2, 3]])
    assert np.array_equal(generate(quantized, prompt, max_tokens=5), generate(plain, prompt, max_tokens=5))
    batch = some_batch(N=2, T=5)
    with adapters_per_row(quantized, [None, "default"]), adapters_per_row(plain, [None, "default"]):
        assert same_bits(quantized.loss(batch)[0], plain.loss(batch)[0])
    for model in (quantized, plain):
        set_adapter(model, None)
    assert same_bits(quantized.loss(batch)[0], plain.loss(batch)[0])


# ---- what users get wrong


def test_refusals():
    model = a_model()
    for bits in (3, "nf3", True, None):
        with pytest.raises(ValueError, match=r"bits was .*; it must be one of 4, 8, 'nf4', 'q4_1', 'q8_0'"):
            quantize(model, bits)
    with pytest.raises(ValueError, match="double was False, but q8_0"):
        quantize(model, 8, double=False)
    model.blocks[1].attn.q_proj.W.data[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"blocks.1.attn.q_proj.W holds 1e\+06; for q8_0 its numbers must be at most"):
        quantize(model, 8)
    model.blocks[1].attn.q_proj.W.data[0, 0] = np.nan
    with pytest.raises(ValueError, match="infinite or NaN"):
        quantize(model)
    assert not any(isinstance(p, QuantizedParameter) for p in model.parameters())
    with pytest.raises(ValueError, match="rows of 10 numbers; it must be a multiple of 32"):
        quantize(tiny_llama(dtype="float32"), 8)
    with pytest.raises(ValueError, match="must be quantised before adapters are added"):
        adapted, _ = pair()
        quantize(adapted)
    with pytest.raises(ValueError, match="is quantised; it must stay frozen"):
        apply_full(adapted)
    assert adapted.blocks[0].attn.q_proj.active == "default"


def test_what_is_quantised_stays_so():
    model = a_model()
    quantize(model, "q4_1")
    before = [p.held for p in model.parameters()]
    quantize(model)
    assert all(a is b for one, p in zip(before, model.parameters(), strict=True) for a, b in zip(one, p.held))
    assert quantization_of(model)["matrices"] == {"q4_1": 14}
    assert quantization_of(a_model()) is None


def test_a_linear_alone():
    W = rng(0).standard_normal((5, 7)).astype("float32")
    packed = pack_nf4(W)
    check_finite({"W": packed.values()}, "W")
    layer = Linear(QuantizedParameter(packed, dtype=W.dtype))
    x = rng(1).standard_normal((2, 7)).astype("float32")
    y, cache = layer.forward(x)
    assert np.array_equal(y, x @ packed.values().T) and cache.x is None and cache.W is layer.W
    assert layer.cache_of(x) == cache
    dy = rng(2).standard_normal((2, 5)).astype("float32")
    assert np.array_equal(layer.backward(dy, cache), dy @ packed.values())
