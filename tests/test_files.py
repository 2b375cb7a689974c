"""Files are written whole or not at all, and what is no file of ours is refused."""

import errno
import json
import os
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from minilora.files import load_arrays, save_arrays, write_atomically, write_json

ARRAYS = {"W": np.arange(6.0).reshape(2, 3), "ids": np.array([1, 2]), "half": np.ones(3, "float16")}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- whole


@pytest.mark.parametrize(("content", "read"), [("text, ünïcode\n", "text, ünïcode\n".encode()), (b"\0\xff", b"\0\xff")])
def test_text_and_bytes_replace_what_was_there(tmp_path, content, read):
    path = tmp_path / "file"
    path.write_text("the old content, which is longer")
    write_atomically(path, content)
    assert path.read_bytes() == read
    assert names(tmp_path) == ["file"]


def test_missing_folders_are_made_and_the_path_may_be_a_str(tmp_path):
    write_atomically(str(tmp_path / "a" / "b" / "file"), "new")
    assert (tmp_path / "a" / "b" / "file").read_text() == "new"


def test_json_is_readable_and_comes_back(tmp_path):
    content = {"loss": [0.1, 2], "name": "q_proj", "none": None}
    write_json(tmp_path / "file.json", content)
    text = (tmp_path / "file.json").read_text()
    assert json.loads(text) == content
    assert text.count("\n") > 4 and text.endswith("\n")


# ---- or not at all

FAILURES = {
    "json of a set": (lambda path: write_json(path, {"targets": {"q_proj"}}), TypeError),
    "json of an array": (lambda path: write_json(path, {"loss": np.ones(1)}), TypeError),
    "text that has no bytes": (lambda path: write_atomically(path, "half a character: \ud800"), UnicodeEncodeError),
    "what is no text": (lambda path: write_atomically(path, 1.5), TypeError),
    "a description that is no json": (lambda path: save_arrays(path, ARRAYS, {"kind": object()}), TypeError),
}


@pytest.mark.parametrize(("write", "error"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, write, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error):
        write(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_folder_in_the_files_place_stays(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        write_atomically(tmp_path / "taken", "new")
    assert names(tmp_path) == ["taken"] and (tmp_path / "taken").is_dir()


def test_a_file_in_the_folders_place_stays(tmp_path):
    (tmp_path / "taken").write_text("old")
    with pytest.raises(OSError):
        write_atomically(tmp_path / "taken" / "file", "new")
    assert (tmp_path / "taken").read_text() == "old"


# ---- arrays


def test_a_single_number_comes_back_without_axes(tmp_path):
    save_arrays(tmp_path / "one.safetensors", {"n": np.asarray(7)}, {"kind": "number"})
    arrays, _ = load_arrays(tmp_path / "one.safetensors", "number")
    assert arrays["n"].shape == () and arrays["n"] == 7


def test_arrays_come_back_with_their_bits_and_dtypes(tmp_path):
    save_arrays(tmp_path / "file", ARRAYS, {"kind": "test", "rank": 4})
    arrays, about = load_arrays(tmp_path / "file", "test")
    assert about == {"kind": "test", "rank": 4}
    assert {name: (a.dtype, a.tolist()) for name, a in arrays.items()} == {
        name: (a.dtype, a.tolist()) for name, a in ARRAYS.items()
    }


@pytest.mark.parametrize(
    "view", [ARRAYS["W"].T, ARRAYS["W"][:, ::2], ARRAYS["W"][::-1], ARRAYS["W"][:0], np.float64(3.0)], ids=str
)
def test_a_view_is_saved_as_what_it_shows(tmp_path, view):
    save_arrays(tmp_path / "file", {"view": view}, {"kind": "test"})
    assert load_arrays(tmp_path / "file", "test")[0]["view"].ravel().tolist() == np.ravel(view).tolist()


def foreign(metadata):
    return lambda path: save_file(ARRAYS, path, metadata=metadata)


REFUSED = {
    "missing": (lambda path: None, "there is no file "),
    "a folder": (lambda path: path.mkdir(), "there is no file "),
    "empty": (lambda path: path.write_bytes(b""), "is not a file that minilora wrote, or it is damaged"),
    "text": (lambda path: path.write_text("W B A"), "is not a file that minilora wrote, or it is damaged"),
    "a pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01."), "is not a file that minilora wrote"),
    "another kind": (
        lambda path: save_arrays(path, ARRAYS, {"kind": "gpt"}),
        "file.safetensors holds 'gpt'; expected 'test'",
    ),
    "no kind": (lambda path: save_arrays(path, ARRAYS, {}), "holds 'something unknown'; expected 'test'"),
    "of somebody else": (foreign(None), "holds 'something unknown'; expected 'test'"),
    "metadata that is no json": (foreign({"minilora": "{"}), "is not a file that minilora wrote, or it is damaged"),
    "metadata that is a list": (foreign({"minilora": "[1]"}), "file.safetensors"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_file_of_ours_is_refused_by_its_path(tmp_path, make, message):
    path = tmp_path / "file.safetensors"
    make(path)
    with pytest.raises(ValueError, match=message) as error:
        load_arrays(path, "test")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("keep", [4, 20, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "file.safetensors"
    save_arrays(path, ARRAYS, {"kind": "test"})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="it is damaged"):
        load_arrays(path, "test")


# ---- to the bit


def test_a_bit_that_flips_is_found_or_changes_nothing(tmp_path):
    """It changes nothing where it makes white space of other white space, or hides the checksum itself."""
    path = tmp_path / "file.safetensors"
    save_arrays(path, ARRAYS, {"kind": "test", "alpha": 16})
    content = path.read_bytes()
    harmless = 0
    for i in range(len(content)):
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        try:
            arrays, about = load_arrays(path, "test")
        except ValueError as error:
            assert str(path) in str(error)
        else:
            harmless += 1
            assert {"kind": "test", "alpha": 16}.items() <= about.items()
            assert {name: a.tolist() for name, a in arrays.items()} == {name: a.tolist() for name, a in ARRAYS.items()}
    assert harmless < 10


def test_a_file_without_a_checksum_is_one_of_the_first_version(tmp_path):
    path = tmp_path / "file.safetensors"
    foreign({"minilora": '{"kind": "test"}'})(path)
    assert load_arrays(path, "test")[1] == {"kind": "test"}


def test_what_the_file_says_has_the_same_bytes_each_time(tmp_path):
    for name in ("one", "two"):
        save_arrays(tmp_path / name, ARRAYS, {"kind": "test", "rank": 4})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


# ---- an error names the file


def test_a_full_disk_is_reported_with_the_file_s_own_name(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=re.escape(f"No space left on device: '{tmp_path / 'file'}'")):
        write_atomically(tmp_path / "file", "new")
    assert names(tmp_path) == []


def test_the_old_file_is_kept_where_one_says(tmp_path):
    for content in ("first", "second", "third"):
        write_atomically(tmp_path / "file", content, previous=tmp_path / "before")
    assert (tmp_path / "file").read_text() == "third" and (tmp_path / "before").read_text() == "second"
