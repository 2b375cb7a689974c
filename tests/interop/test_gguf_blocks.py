"""Weights of 4, 6, 8 and 16 bits become the numbers that the package `gguf` makes of them, to the bit."""

import numpy as np
import pytest

from minilora.interop import gguf_blocks
from minilora.interop.gguf_blocks import BLOCKS, dequantize, halves, to_q8_0, type_name

gguf = pytest.importorskip("gguf", reason="needs the package gguf: pip install -e '.[hf]'")

ROWS, COLUMNS = 3, 512


def random_bytes(kind, rng):
    """Any bytes that are finite numbers: every step and offset is a float16 of some size."""
    block = BLOCKS[kind]
    blocks = rng.integers(0, 256, (ROWS * COLUMNS // block.numbers, block.bytes), dtype=np.uint8)
    for start in {"Q4_1": (0, 2), "Q6_K": (208,)}.get(block.name, (0,)) if block.numbers > 1 else ():
        steps = rng.standard_normal(len(blocks)).astype("f2")
        blocks[:, start : start + 2] = steps[:, None].view(np.uint8)
    if block.numbers == 1:
        numbers = rng.standard_normal(len(blocks)).astype("f4")
        stored = {"F32": numbers, "F16": numbers.astype("f2"), "BF16": (numbers.view("u4") >> 16).astype("u2")}
        blocks = stored[block.name][:, None].view(np.uint8)
    return np.ascontiguousarray(blocks).reshape(-1)


def theirs(data, kind):
    of = gguf.GGMLQuantizationType(kind)
    rows = data.reshape(ROWS, -1)
    return gguf.dequantize(rows.view("f4") if of == gguf.GGMLQuantizationType.F32 else rows, of)


@pytest.mark.parametrize("kind", BLOCKS, ids=type_name)
@pytest.mark.parametrize("chunk", [256, 2**20])
def test_the_numbers_are_those_of_gguf_to_the_bit(kind, chunk, monkeypatch):
    monkeypatch.setattr(gguf_blocks, "CHUNK", chunk)
    data = random_bytes(kind, np.random.default_rng(0))
    ours = dequantize(data, kind, (ROWS, COLUMNS))
    assert ours.dtype == np.float32 and ours.shape == (ROWS, COLUMNS) and len(np.unique(ours)) > 30
    assert np.array_equal(ours.view("u4"), theirs(data, kind).view("u4"))
    assert BLOCKS[kind].name == gguf.GGMLQuantizationType(kind).name
    assert (BLOCKS[kind].numbers, BLOCKS[kind].bytes) == gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]


def test_the_names_of_the_other_types_are_those_of_gguf():
    for kind, name in gguf_blocks.OTHERS.items():
        assert gguf.GGMLQuantizationType(kind).name == name and kind not in BLOCKS
    assert type_name(12) == "Q4_K" and type_name(999) == "number 999"


@pytest.mark.parametrize("kind", [2, 3], ids=type_name)
def test_neighbours_in_a_byte_would_be_found(kind, monkeypatch):
    def mutant(packed):  # the low and the high half of one byte as neighbours
        return np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), -1).astype(np.float32)

    monkeypatch.setattr(gguf_blocks, "halves", mutant)
    data = random_bytes(kind, np.random.default_rng(0))
    assert not np.array_equal(dequantize(data, kind, (ROWS, COLUMNS)), theirs(data, kind))
    assert np.array_equal(np.sort(mutant(data[None, :16])), np.sort(halves(data[None, :16])))


def quantised_by_gguf(w):
    return gguf.quantize(w, gguf.GGMLQuantizationType.Q8_0).reshape(-1, 34)


def weights():
    """Blocks with zeros, with ties, which are rounded away from zero, and with a number that dwarfs the others."""
    w = np.random.default_rng(0).standard_normal((500, 32)).astype("f4")
    w[0] = 0
    w[1] = np.arange(-16, 16) + 0.5
    w[1, 0] = 127
    w[2, 3] = 1e4
    w[3] = -0.0
    return w


def test_8_bits_are_those_of_gguf_to_the_bit():
    assert np.array_equal(to_q8_0(weights()), quantised_by_gguf(weights()))


def test_rounding_ties_to_even_would_be_found():
    w = weights()
    d = np.abs(w[1]).max() / np.float32(127)
    assert not np.array_equal(np.round(w[1] / d).astype("i1").view("u1"), quantised_by_gguf(w)[1, 2:])


def test_8_bits_are_off_by_half_a_step_at_most():
    w = weights()
    back = dequantize(to_q8_0(w).reshape(-1), gguf_blocks.Q8_0, w.shape)
    step = np.abs(w).max(axis=1, keepdims=True) / 127
    assert (np.abs(back - w) <= step * (0.5 + 127 * 2.0**-11)).all()  # and d is rounded to 11 bits
