import json

import pytest

from minilora.data import Example, load_task_file, load_text_file
from minilora.data.files import cut

PARAGRAPHS = [f"Paragraph {i}. " + "It goes on for a while. " * 20 for i in range(60)]
TEXT = "\n\n".join(PARAGRAPHS) + "\n"


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def test_text_file(write):
    corpus = load_text_file(write("notes.txt", TEXT))
    assert corpus.name == "notes.txt"
    assert "".join(document.text for document in corpus.documents) == TEXT
    assert all(1000 <= len(document.text) < 2000 for document in corpus.documents[:-1])
    assert {document.text for document in corpus.documents} == {
        text for split in ("train", "valid", "test") for text in corpus.texts(split)
    }
    assert len(corpus.texts("valid")) == len(corpus.texts("test")) == 1


def test_text_file_does_not_depend_on_its_place_or_line_breaks(write):
    windows = b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode()
    assert load_text_file(write("a.txt", windows)).id == load_text_file(write("b.txt", TEXT)).id


@pytest.mark.parametrize("n_lines", [60, 200, 2000])
def test_every_split_holds_something(write, n_lines):
    text = "".join(f"line {i} without a blank one {'.' * 90}\n" for i in range(n_lines))
    corpus = load_text_file(write("lines.txt", text))
    assert corpus.texts("train") and corpus.texts("valid") and corpus.texts("test")


def test_a_repeated_text_is_kept_once(write):
    with pytest.raises(ValueError, match=r"is too short.* it makes [12] different ones"):
        load_text_file(write("again.txt", ("x" * 99 + "\n") * 200))


def test_cut_loses_nothing():
    assert "".join(cut(TEXT)) == TEXT
    assert max(map(len, cut("line\n" * 3000))) <= 2005


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"short", "is too short"),
        (b"caf\xe9 au lait", "is not UTF-8: byte 0xe9 at offset 3"),
        (b"\xef\xbb\xbfcaf\xe9 au lait", "is not UTF-8: byte 0xe9 at offset 6"),
        (b"ab\0c", "NUL byte at offset 2"),
    ],
)
def test_bad_text_files(write, content, message):
    with pytest.raises(ValueError, match=f"path: .*bad.txt {message}|path: .*bad.txt has a {message}"):
        load_text_file(write("bad.txt", content))


@pytest.mark.parametrize("load", [load_text_file, load_task_file])
def test_missing_files_and_folders(tmp_path, load):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match=r"path: there is no file .*none\.csv"):
        load(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"path: .*folder.csv is a folder, not a file"):
        load(tmp_path / "folder.csv")


def test_task_files(write):
    expected = [Example("a, b", 'say "c"', "a, b"), Example("two\nlines", "d", "two\nlines")]
    rows = 'id,source,target\n1,"a, b","say ""c"""\n2,"two\nlines",d\n'
    assert load_task_file(write("task.csv", rows)) == expected
    lines = [json.dumps({"source": example.source, "target": example.target}) for example in expected]
    assert load_task_file(write("task.jsonl", "\n\n".join(lines) + "\n")) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("task.json", "[]", r"the name of a task file must end in \.csv or \.jsonl"),
        ("task.csv", "source,answer\na,b\n", "lacks the column target; its header has source, answer"),
        ("task.csv", "question,answer\na,b\n", "lacks the column source and target"),
        ("task.csv", "source,target\n", "has no rows"),
        ("task.csv", "source,target\na,b\nc\n", "line 3: target must be a text that is not empty, not None"),
        ("task.csv", "source,target\na,b\n ,d\n", "line 3: source must be a text that is not empty, not ' '"),
        ("task.csv", 'source,target\na,"b"c\n', "after line 1: not CSV"),
        ("task.jsonl", '{"source": "a", "target": "b"}\n\n{"source": "a"\n', "line 3 is not JSON"),
        ("task.jsonl", '{"source": "a", b', "line 1 is not JSON.*: Expecting property name .* quotes: character 17$"),
        ("task.jsonl", '["a", "b"]\n', "line 1: not a JSON object"),
        ("task.jsonl", '{"source": "a", "target": "b\\u0000"}', "line 1: target has a NUL character"),
        ("task.jsonl", '{"source": "a"}\n', "line 1: target must be a text that is not empty, not None"),
        ("task.jsonl", '{"source": "a", "target": 3}\n', "line 1: target must be a text .*, not 3"),
    ],
)
def test_bad_task_files(write, name, content, message):
    with pytest.raises(ValueError, match=message):
        load_task_file(write(name, content))


def test_a_text_on_one_long_line_is_cut_at_words(tmp_path):
    text = "word " * 4000
    (tmp_path / "line.txt").write_text(" ".join(f"{word}{i}" for i, word in enumerate(text.split())))
    corpus = load_text_file(tmp_path / "line.txt")
    assert all(corpus.texts(split) for split in ("train", "valid", "test"))
    assert "".join(d.text for d in corpus.documents) == (tmp_path / "line.txt").read_text()
    assert max(len(d.text) for d in corpus.documents) < 2100
