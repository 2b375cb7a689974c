"""load_gguf(keep_blocks=True): the matrices stay in the bytes of the file, and the model is the same, to the bit."""

import numpy as np
import pytest

from methods.tiny import rng, same_bits, some_batch, with_B
from minilora.interop.gguf_blocks import BLOCKS
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.gguf_load import load_gguf
from minilora.interop.gguf_place import Place
from minilora.layers import QuantizedParameter
from minilora.methods import LoRAConfig, apply_lora, load_adapter, quantization_of, quantize, save_adapter
from minilora.methods.quantization import block_linears
from minilora.models import LlamaConfig, weights_hash
from minilora.training import loss_and_backward

pytest.importorskip("gguf", reason="needs the package gguf: pip install -e '.[hf]'")

from interop.gguf_models import quantised, tiny_llama
from minilora.interop import save_gguf

CONFIG = LlamaConfig(
    vocab_size=13, n_positions=9, n_layer=1, d_model=256, n_head=8, n_kv_head=2, head_size=32, d_mlp=512
)
NUMBERS = {block.name: kind for kind, block in BLOCKS.items()}


@pytest.fixture
def make(tmp_path):
    """The path of a file with random matrices in these types, in turn."""

    def made(*names):
        save_gguf(tiny_llama(CONFIG), tmp_path / "plain.gguf", dtype="f32")
        return quantised(tmp_path / "plain.gguf", tmp_path / "model.gguf", [NUMBERS[name] for name in names], rng(0))

    return made


def gradients(model):
    apply_lora(model, LoRAConfig(rank=2, targets=("q_proj", "down_proj")), rng=rng(1))
    with_B(model)
    loss = loss_and_backward(model, some_batch(), 1.0)
    return {"loss": np.asarray(loss), **{p.name: p.grad for p in model.trainable_parameters()}}


@pytest.mark.parametrize("names", [("Q4_1",), ("Q8_0",), ("Q4_K", "Q6_K", "Q5_0"), ("F16",)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_model_is_the_same_to_the_bit(make, names, dtype):
    path = make(*names)
    kept, plain = load_gguf(path, dtype=dtype, keep_blocks=True), load_gguf(path, dtype=dtype)
    for (name, a), (other, b) in zip(kept.named_parameters(), plain.named_parameters(), strict=True):
        assert name == other and same_bits(a.data, b.data)
    assert weights_hash(kept) == weights_hash(plain)
    told = quantization_of(kept)
    assert told is None if names == ("F16",) else sum(told["matrices"].values()) == 7
    assert not isinstance(kept.wte.W, QuantizedParameter)
    assert same_bits(gradients(kept), gradients(plain))


def test_the_bytes_are_those_of_the_file(make):
    path = make("Q4_1")
    model = load_gguf(path, keep_blocks=True)
    tensors = GGUFFile(path).tensors
    for name, tensor in (("attn.v_proj", "blk.0.attn_v.weight"), ("mlp.down_proj", "blk.0.ffn_down.weight")):
        (blocks,) = block_linears(model)[f"blocks.0.{name}"].W.held
        assert np.array_equal(blocks.reshape(-1), tensors[tensor].data) and blocks.base is not tensors[tensor].data
    assert quantization_of(model)["bits_per_number"] == 5


def test_rows_that_stay_in_llama_cpps_order_would_be_found(make, monkeypatch):
    path = make("Q4_1")
    expected = load_gguf(path).blocks[0].attn.q_proj.W.data
    monkeypatch.setattr(Place, "ours", lambda place, W: W)
    assert not same_bits(load_gguf(path, keep_blocks=True).blocks[0].attn.q_proj.W.data, expected)


def test_quantize_takes_what_is_not_in_blocks_and_leaves_the_rest(make):
    model = load_gguf(make("Q4_1", "F16"), keep_blocks=True)
    quantize(model)
    counts = quantization_of(model)["matrices"]
    assert counts.keys() == {"q4_1", "nf4"} and sum(counts.values()) == 7


def test_an_adapter_goes_between_the_two_without_a_word(make, tmp_path):
    path = make("Q4_1")
    kept, plain = load_gguf(path, keep_blocks=True), load_gguf(path)
    ours = gradients(kept)
    save_adapter(kept, tmp_path / "adapter")
    load_adapter(plain, tmp_path / "adapter")  # a warning would be an error
    loss = loss_and_backward(plain, some_batch(), 1.0)
    assert same_bits(np.asarray(loss), ours["loss"])
    save_adapter(plain, tmp_path / "back")
    load_adapter(load_gguf(path, keep_blocks=True), tmp_path / "back")


def test_a_damaged_step_is_refused(make, tmp_path):
    path = make("Q4_1")
    content = bytearray(path.read_bytes())
    tensor = GGUFFile(path).tensors["blk.0.ffn_up.weight"]
    start = content.find(tensor.data[:64].tobytes())
    content[start : start + 2] = b"\xff\xff"  # a float16 that is no number
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"blk\.0\.ffn_up\.weight has values that are infinite or NaN"):
        load_gguf(path, keep_blocks=True)
