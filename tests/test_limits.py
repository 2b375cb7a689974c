"""What a file says is bounded before it is used: sizes, values, nesting, names; and what a message repeats of it."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import run
from minilora.files import DamagedFile, load_arrays, read_fields, read_json, save_arrays
from minilora.interop.foreign_files import tensors_in
from minilora.limits import LONGEST_LINE, MOST_VALUES, one_line, one_line_errors, parse_json, shown

# ---- messages


@pytest.mark.parametrize(
    "value",
    ["\x1b]0;title\x07", "x" * 3_200_000, ["y" * 1000] * 1000, {"\n": {"\r": [[[[[]]]]]}}, 10**400, "\ud800", None],
)
def test_what_is_shown_of_a_file_is_short_and_printable(value):
    assert shown(value).isprintable() and len(shown(value)) <= 110


def test_what_is_short_is_shown_as_it_is():
    for value in ("q_proj", 8, None, ["a", "b"], {"r": 1.5}, True, "ü"):
        assert shown(value) == repr(value)


def test_a_message_is_one_line_with_its_beginning_and_its_end():
    message = one_line("config.json: n_embd was \x1b[2J" + "ab\n" * 1_000_000 + "; it must be an integer")
    assert message.isprintable() and len(message) <= LONGEST_LINE
    assert message.startswith(r"config.json: n_embd was \x1b[2J") and message.endswith("; it must be an integer")
    assert one_line("n_embd was 3; it must be 4") == "n_embd was 3; it must be 4"


def test_an_error_keeps_its_kind():
    @one_line_errors()
    def read():
        raise DamagedFile("a\nb")

    with pytest.raises(DamagedFile, match=r"^a\\nb$"):
        read()


# ---- JSON


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file.json is not JSON, or it is damaged"),
        (b"[1]", "file.json holds a list; it must hold a JSON object"),
        (b"[" * 100_000, "file.json is not JSON, or it is damaged: it is nested too deeply"),
        (
            b'{"a": ' * 50 + b"1" + b"}" * 50,
            "file.json has JSON that is nested too deeply; it must have at most 40 levels",
        ),
        (
            b'{"a": [' + b"[]," * MOST_VALUES + b"[]]}",
            "file.json has up to 1,000,0.. values of JSON; it must have at most",
        ),
        (b'{"a": "' + b"x" * 5_000_000 + b'"}', "file.json has 5,000,009 bytes; it must have at most 4,194,304"),
        (b'{"a": ' + b"9" * 5000 + b"}", "file.json is not JSON, or it is damaged: Exceeds the limit"),
        (b"\xff\xfe\x00", "file.json is not JSON, or it is damaged"),
    ],
)
def test_json_that_is_no_object_or_too_large_is_refused(tmp_path, content, message):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "file.json")


def test_a_json_text_may_be_bytes_or_a_string():
    assert parse_json(b'{"a": [1, 2]}', "file") == parse_json('{"a": [1, 2]}', "file") == {"a": [1, 2]}


FIELDS = {"losses": [float], "validation": [(int, float)], "seconds": float, "task": str, "head": int, "done": bool}
WHOLE = {
    "losses": [1, 0.5],
    "validation": [[3, 0.5]],
    "seconds": 2,
    "task": "prose",
    "head": 3,
    "done": True,
    "more": {},
}


def test_fields_that_are_there_and_of_their_types_are_read(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(WHOLE))
    assert read_fields(tmp_path / "result.json", FIELDS) == WHOLE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": "x"}, "losses was 'x'; it must be a list, and each in it a number"),
        ({"losses": [1.0, "x"]}, "losses was .*; it must be a list, and each in it a number"),
        ({"losses": [True]}, "losses was .*; it must be a list, and each in it a number"),
        ({"validation": [[1, 2.0, 3.0]]}, "it must be a list, and each in it a list of an integer, a number"),
        ({"validation": [[1.5, 2.0]]}, "it must be a list, and each in it a list of an integer, a number"),
        ({"seconds": None}, "seconds was None; it must be a number"),
        ({"task": ["prose"]}, "task was .'prose'.; it must be a text"),
        ({"head": False}, "head was False; it must be an integer"),
        ({"done": 1}, "done was 1; it must be true or false"),
    ],
)
def test_a_field_of_another_type_is_refused_by_its_name(tmp_path, changes, message):
    (tmp_path / "result.json").write_text(json.dumps(WHOLE | changes))
    with pytest.raises(ValueError, match=f"result.json: .*{message}"):
        read_fields(tmp_path / "result.json", FIELDS)


@pytest.mark.parametrize("missing", FIELDS)
def test_a_field_that_is_missing_is_refused_by_its_name(tmp_path, missing):
    (tmp_path / "result.json").write_text(json.dumps({name: v for name, v in WHOLE.items() if name != missing}))
    with pytest.raises(ValueError, match=f"result.json lacks the field {missing}; it must be "):
        read_fields(tmp_path / "result.json", FIELDS)


# ---- safetensors


def write_safetensors(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({f"t{i}": EMPTY for i in range(20_001)}, "has 20,001 tensors; it must have at most 20,000"),
        ({"x" * 5000: EMPTY}, "has a tensor with the name 'xxx.*' of 5,000 characters; it must have at most 200"),
        (
            b'{"a": [' + b"[]," * MOST_VALUES + b"[]]}",
            "its header has up to .* values of JSON; it must have at most 500,000",
        ),
        (b" " * (2**24 + 1), "its header has 16,777,217 bytes; it must have at most 16,777,216"),
    ],
)
@pytest.mark.parametrize("read", [tensors_in, lambda path: load_arrays(path, "gpt")], ids=["theirs", "ours"])
def test_a_header_that_is_too_large_is_refused(tmp_path, read, header, message):
    write_safetensors(tmp_path / "model.safetensors", header)
    with pytest.raises(ValueError, match=rf"model.safetensors.* {message}"):
        read(tmp_path / "model.safetensors")


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="file: its description has up to 500,00. values of JSON"):
        save_arrays(tmp_path / "file", {}, {"kind": "test", "losses": [0] * MOST_VALUES})
    assert list(tmp_path.iterdir()) == []


def test_of_somebody_else_s_file_no_array_is_read(tmp_path, monkeypatch):
    header = {"W": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}  # which would fail, if it were read
    write_safetensors(tmp_path / "model.safetensors", header, b"ab")
    with pytest.raises(ValueError, match="holds 'something unknown'; expected 'gpt'"):
        load_arrays(tmp_path / "model.safetensors", "gpt")


# ---- seconds and bytes of the largest files


def large(name, path):
    """A file of a kind that once took too long, or too much memory, to be refused."""
    if name == "a header of 60 MB":
        write_safetensors(path / "model.safetensors", b'{"a": [' + b"[]," * 20_000_000 + b"[]]}")
    elif name == "a million empty tensors":
        entries = ",".join(f'"t{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(1_000_000))
        write_safetensors(path / "model.safetensors", f"{{{entries}}}".encode())
    elif name == "as many tensors as there may be values":
        entries = ",".join(f'"t{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(71_000))
        write_safetensors(path / "model.safetensors", f"{{{entries}}}".encode())
    elif name == "a header of as many values as there may be":
        write_safetensors(path / "model.safetensors", b'{"a": [' + b'{"":0},' * 249_000 + b"[]]}")
    elif name == "a description of as many values as there may be":
        about = json.dumps('{"a": [' + '{"":0},' * 249_000 + '"\U0001f600"]}' + " " * 12_000_000, ensure_ascii=False)
        write_safetensors(path / "model.safetensors", f'{{"__metadata__": {{"minilora": {about}}}}}'.encode())
    else:
        content = {"60 MB": b"[]," * 20_000_000, "most values": b'{"":0},' * 240_000, "long": b'"\\u0001' * 600_000}[
            name
        ]
        (path / "config.json").write_bytes(b'{"model_type": "gpt2", "a": [' + content + b"[]]}")


READ = {
    "theirs": "from minilora.interop.foreign_files import tensors_in as read; file = path / 'model.safetensors'",
    "ours": "from minilora.models import load_model as read; file = path / 'model.safetensors'",
    "json": "from minilora.files import read_json as read; file = path / 'config.json'",
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on memory is Linux's")
@pytest.mark.parametrize(
    ("name", "reader"),
    [
        *[
            (name, reader)
            for reader in ("theirs", "ours")
            for name in (
                "a header of 60 MB",
                "a million empty tensors",
                "as many tensors as there may be values",
                "a header of as many values as there may be",
                "a description of as many values as there may be",
            )
        ],
        *[(name, "json") for name in ("60 MB", "most values", "long")],
    ],
)
def test_the_largest_file_is_read_or_refused_in_2_seconds_and_200_MB_beyond_its_size(tmp_path, name, reader):
    large(name, tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    program = (
        f"import time; from fuzz import run; from pathlib import Path; path = Path({str(tmp_path)!r}); {READ[reader]}\n"
        f"run.limit_memory(run.BYTES + {size}); started = time.process_time()\n"
        "try: read(file); print('read')\n"
        "except ValueError as error: print(error)\n"
        "print(time.process_time() - started)"
    )
    tests = Path(run.__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tests)
    said, seconds = done.stdout.splitlines()
    assert (said == "read" or str(tmp_path) in said) and len(said) < 500 and float(seconds) < run.SECONDS, done.stderr
