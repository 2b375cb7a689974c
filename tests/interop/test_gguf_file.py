"""What a GGUF file says is what the package `gguf` wrote; a file that is cut or means harm is refused in one line."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fuzz import run
from minilora.interop import gguf_file
from minilora.interop.gguf_file import GGUFFile

gguf = pytest.importorskip("gguf", reason="needs the package gguf: pip install -e '.[hf]'")


def write(path, alignment=None):
    """A file with a field of every type, and tensors of three."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_uint8("a.uint8", 200)
    writer.add_int8("a.int8", -100)
    writer.add_uint16("a.uint16", 60_000)
    writer.add_int16("a.int16", -30_000)
    writer.add_uint32("a.uint32", 2**32 - 1)
    writer.add_int32("a.int32", -(2**31))
    writer.add_float32("a.float32", 1e-5)
    writer.add_uint64("a.uint64", 2**64 - 1)
    writer.add_int64("a.int64", -(2**63))
    writer.add_float64("a.float64", 1e-5)
    writer.add_bool("a.bool", True)
    writer.add_string("a.string", "Grüße, 東京")
    writer.add_array("a.strings", ["a", "東", ""])
    writer.add_array("a.ints", [1, -2, 3])
    writer.add_array("a.floats", [0.5, -0.25])
    writer.add_array("a.bools", [True, False])
    for name, shape, dtype in (("one", (5,), "f4"), ("two", (3, 7), "f2"), ("three", (2, 3, 32), "f4")):
        values = rng.standard_normal(shape).astype(dtype)
        kind = gguf.GGMLQuantizationType.Q8_0 if name == "three" else None
        writer.add_tensor(name, values if kind is None else gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "model.gguf")


@pytest.mark.parametrize("alignment", [None, 128])
def test_fields_and_tensors_are_those_that_gguf_reads(tmp_path, alignment):
    path = write(tmp_path / "model.gguf", alignment)
    file, theirs = GGUFFile(path), gguf.GGUFReader(path)
    fields = {name: field for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert list(file.fields) == list(fields) and len(fields) == (18 if alignment else 17)
    for name, field in fields.items():
        ours = file.fields[name]
        assert (ours.tolist() if isinstance(ours, np.ndarray) else ours) == field.contents(), name
        kind, items = file.types[name]
        assert [kind, *([] if items is None else [items])] == [int(t) for t in field.types], name
    assert list(file.tensors) == [t.name for t in theirs.tensors]
    for t in theirs.tensors:
        ours = file.tensors[t.name]
        assert ours.shape == tuple(t.shape[::-1]) and ours.kind == t.tensor_type
        assert np.array_equal(ours.read(), gguf.dequantize(t.data, t.tensor_type).reshape(ours.shape)), t.name


def test_a_field_has_the_type_that_is_asked_for(path):
    file = GGUFFile(path)
    assert file.get("a.int32", int) == -(2**31) and file.get("a.string", str) == "Grüße, 東京"
    assert file.get("a.uint8", float) == 200.0 and type(file.get("a.uint8", float)) is float
    assert file.get("missing", int, 3) == 3 and file.get("a.strings", list) == ["a", "東", ""]
    with pytest.raises(ValueError, match="model.gguf lacks the field missing"):
        file.get("missing", int)
    for name, kind in (("a.bool", int), ("a.string", int), ("a.float32", int), ("a.ints", list)):
        with pytest.raises(ValueError, match=f"{name} was .*; it must be of type {kind.__name__}"):
            file.get(name, kind)


def test_a_file_that_is_cut_anywhere_is_refused(path):
    content = path.read_bytes()
    padding = -(2 * 3 * 34) % 32  # behind the last tensor, of six blocks; it has nothing to lose
    for n in range(len(content) - padding):
        path.write_bytes(content[:n])
        with pytest.raises(ValueError, match=r"model.gguf (is cut|is not a GGUF file|lacks)"):
            GGUFFile(path)


def test_what_is_no_gguf_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no file .*none"):
        GGUFFile(tmp_path / "none")
    for content in (b"", b"PK\x03\x04 something else"):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError, match="file is not a GGUF file: it does not begin with GGUF"):
            GGUFFile(tmp_path / "file")


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(value)) + value


def header(fields=b"", tensors=b"", n_fields=0, n_tensors=0, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_fields) + fields + tensors + bytes(256)


def field(name, kind, content):
    return text(name) + struct.pack("<I", kind) + content


def tensor(name, shape, kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


ARRAY = struct.pack("<IQ", 4, 2**60)
HOSTILE = {
    "version": (header(version=1), "has GGUF version 1; it must be 2 or 3"),
    "big-endian": (header(version=3 << 24), "for big-endian machines"),
    "counts": (header(n_fields=2**60), "claims 0 tensors and 1,152,921,504,606,846,976 fields"),
    "tensors": (header(n_tensors=30_000), "claims 30,000 tensors"),
    "long name": (header(struct.pack("<Q", 2**40), n_fields=1), "a text of 1,099,511,627,776 bytes"),
    "numbers": (header(field("a", 9, ARRAY), n_fields=1), "'a' claims 1,152,921,504,606,846,976 numbers"),
    "texts": (header(field("a", 9, struct.pack("<IQ", 8, 2**60)), n_fields=1), "claims .* texts; it must have at most"),
    "nested": (header(field("a", 9, struct.pack("<IQ", 9, 1)), n_fields=1), "'a' is an array of type 9; it must be of"),
    "unknown": (header(field("a", 13, b""), n_fields=1), "'a' is of type 13; it must be of texts or numbers"),
    "twice": (header(2 * field("a", 0, b"\1"), n_fields=2), "has the field 'a' twice"),
    "no UTF-8": (header(field("a", 8, text(b"\xff")), n_fields=1), "is cut or damaged at byte .*utf-8"),
    "alignment": (header(field("general.alignment", 4, bytes(4)), n_fields=1), "general.alignment was 0"),
    "axes": (header(tensors=tensor("t", (1,) * 5), n_tensors=1), "tensor 't' has 5 axes; it must have 1 to 4"),
    "no axis": (header(tensors=tensor("t", ()), n_tensors=1), "tensor 't' has 0 axes"),
    "huge tensor": (header(tensors=tensor("t", (2**40, 2**40)), n_tensors=1), "is cut: tensor t ends at byte"),
    "far away": (header(tensors=tensor("t", (1,), offset=2**63), n_tensors=1), "is cut: tensor t ends at byte"),
    "two tensors": (header(tensors=2 * tensor("t", (1,)), n_tensors=2), "has the tensor 't' twice"),
    "half a block": (
        header(tensors=tensor("t", (48,), 8), n_tensors=1),
        "48 numbers of Q8_0; it must be a multiple of 32",
    ),
    "cut": (
        header(field("a", 10, bytes(8)), n_fields=1)[:40],
        "model.gguf is cut: it ends in the middle of its header$",
    ),
    "control": (header(tensors=2 * tensor("\x1b[31m", (1,)), n_tensors=2), r"'\\x1b\[31m' twice"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_means_harm_is_refused(tmp_path, content, message):
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        GGUFFile(tmp_path / "model.gguf")
    assert str(error.value).isprintable() and "model.gguf" in str(error.value)


def test_an_unknown_quantisation_is_named_when_the_tensor_is_read(tmp_path):
    (tmp_path / "model.gguf").write_bytes(header(tensors=tensor("blk.0.attn_q.weight", (256,), 16), n_tensors=1))
    found = GGUFFile(tmp_path / "model.gguf").tensors["blk.0.attn_q.weight"]
    with pytest.raises(ValueError, match="blk.0.attn_q.weight has the type IQ2_XXS; it must be one of F32, F16, BF16"):
        found.read()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on memory is Linux's")
@pytest.mark.parametrize("most", ["texts", "fields", "tensors"])
def test_the_largest_header_is_read_or_refused_in_2_seconds_and_200_MB(tmp_path, most):
    n = {"texts": gguf_file.MOST_STRINGS, "fields": gguf_file.MOST_FIELDS, "tensors": 20_000}[most]
    if most == "texts":
        content = header(field("a", 9, struct.pack("<IQ", 8, n) + text("ab") * n) + b"", n_fields=2)
    elif most == "fields":
        content = header(b"".join(field(f"{i}", 8, text("x" * 1000)) for i in range(n)), n_fields=n + 1)
    else:
        content = header(tensors=b"".join(tensor(f"{i:0200}", (1, 1, 1, 1)) for i in range(n)) * 2, n_tensors=n)
    path = tmp_path / "model.gguf"
    path.write_bytes(content[:-256] if most != "tensors" else content[: -len(content) // 4])
    program = (
        "import time; from fuzz import run; from minilora.interop.gguf_file import GGUFFile\n"
        f"run.limit_memory(run.BYTES + {path.stat().st_size}); started = time.process_time()\n"
        f"try: GGUFFile({str(path)!r}); print(time.process_time() - started); print('read')\n"
        "except ValueError as error: print(time.process_time() - started); print(error)"
    )
    tests = Path(run.__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tests)
    assert done.stdout, done.stderr
    seconds, said = done.stdout.splitlines()
    assert float(seconds) < run.SECONDS and (str(path) in said or said == "read"), said
