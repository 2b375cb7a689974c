"""Weights of 2 to 16 bits become the numbers that the package `gguf` makes of them, to the bit."""

import numpy as np
import pytest

from minilora.interop import gguf_blocks, gguf_k_blocks, gguf_plain_blocks
from minilora.interop.gguf_blocks import BLOCKS, dequantize, type_name
from minilora.interop.gguf_plain_blocks import halves
from minilora.ops import quantize_q4_1, quantize_q8_0

gguf = pytest.importorskip("gguf", reason="needs the package gguf: pip install -e '.[hf]'")

from interop.gguf_models import random_blocks  # noqa: E402  it imports gguf

ROWS, COLUMNS = 3, 512


def random_bytes(kind, rng):
    """The bytes of ROWS rows: any that are finite numbers."""
    if BLOCKS[kind].numbers > 1:
        return random_blocks(kind, (ROWS, COLUMNS), rng).reshape(-1)
    numbers = rng.standard_normal(ROWS * COLUMNS).astype("f4")
    stored = {"F32": numbers, "F16": numbers.astype("f2"), "BF16": (numbers.view("u4") >> 16).astype("u2")}
    return stored[BLOCKS[kind].name].view(np.uint8)


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
    assert np.isfinite(ours).all()
    assert np.array_equal(ours.view("u4"), theirs(data, kind).view("u4"))
    assert BLOCKS[kind].name == gguf.GGMLQuantizationType(kind).name
    assert (BLOCKS[kind].numbers, BLOCKS[kind].bytes) == gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]


def test_the_names_of_the_other_types_are_those_of_gguf():
    known = {kind.value: kind.name for kind in gguf.GGMLQuantizationType}  # an older gguf lacks the newest types
    assert gguf_blocks.OTHERS.keys() - known.keys() <= {39}  # MXFP4
    for kind, name in gguf_blocks.OTHERS.items():
        assert known.get(kind, name) == name and kind not in BLOCKS
    assert type_name(16) == "IQ2_XXS" and type_name(999) == "number 999"


@pytest.mark.parametrize("kind", [2, 6, 7, 20], ids=type_name)
def test_neighbours_in_a_byte_would_be_found(kind, monkeypatch):
    def mutant(packed):  # the low and the high half of one byte as neighbours
        return np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), -1)

    monkeypatch.setattr(gguf_plain_blocks, "halves", mutant)
    data = random_bytes(kind, np.random.default_rng(0))
    assert not np.array_equal(dequantize(data, kind, (ROWS, COLUMNS)), theirs(data, kind))
    assert np.array_equal(np.sort(mutant(data[None, :16])), np.sort(halves(data[None, :16])))


def packed_as_neighbours(packed, shifts, width=32):
    mask = (1 << 8 // len(shifts)) - 1
    return np.stack([packed >> shift & mask for shift in shifts], axis=2).reshape(len(packed), 256)


def steps_between_offsets(packed):  # s and t changed over
    return original_steps(packed)[::-1]


original_steps = gguf_k_blocks.steps_and_offsets


@pytest.mark.parametrize("kind", [10, 11, 12, 13, 14, 23], ids=type_name)
def test_another_packing_of_256_numbers_would_be_found(kind, monkeypatch):
    monkeypatch.setattr(gguf_k_blocks, "parts", packed_as_neighbours)
    data = random_bytes(kind, np.random.default_rng(0))
    assert not np.array_equal(dequantize(data, kind, (ROWS, COLUMNS)), theirs(data, kind))


@pytest.mark.parametrize("kind", [12, 13], ids=type_name)
def test_steps_for_offsets_would_be_found(kind, monkeypatch):
    monkeypatch.setattr(gguf_k_blocks, "steps_and_offsets", steps_between_offsets)
    data = random_bytes(kind, np.random.default_rng(0))
    assert not np.array_equal(dequantize(data, kind, (ROWS, COLUMNS)), theirs(data, kind))


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
    assert np.array_equal(quantize_q8_0(weights()), quantised_by_gguf(weights()))


def test_4_bits_are_those_of_gguf_to_the_bit():
    theirs = gguf.quantize(weights(), gguf.GGMLQuantizationType.Q4_1).reshape(-1, 20)
    assert np.array_equal(quantize_q4_1(weights()), theirs)


def test_rounding_ties_to_even_would_be_found():
    w = weights()
    d = np.abs(w[1]).max() / np.float32(127)
    assert not np.array_equal(np.round(w[1] / d).astype("i1").view("u1"), quantised_by_gguf(w)[1, 2:])


def test_8_bits_are_off_by_half_a_step_at_most():
    w = weights()
    back = dequantize(quantize_q8_0(w).reshape(-1), gguf_blocks.Q8_0, w.shape)
    step = np.abs(w).max(axis=1, keepdims=True) / 127
    assert (np.abs(back - w) <= step * (0.5 + 127 * 2.0**-11)).all()  # and d is rounded to 11 bits
