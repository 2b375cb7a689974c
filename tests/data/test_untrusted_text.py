"""Whatever is in a text or task file, it is read or refused with the place that is wrong."""

import csv
import io
import json
import subprocess
import sys
import time
import tracemalloc
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora.data import ByteTokenizer, load_conversations, load_labelled_file, load_task_file, load_text_file
from minilora.data.files import LARGEST_FILE, MOST_ROWS, column_names, cut

quick = settings(max_examples=60, deadline=None)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
commas = st.lists(texts, max_size=6).map(",".join)
anything = st.one_of(st.binary(max_size=300), texts.map(str.encode), commas.map(str.encode))
json_values = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | texts, st.lists, max_leaves=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("untrusted")


def read(load, path, content):
    """The texts of a file's examples; None if it was refused, with its path."""
    path.write_bytes(content)
    column_names_or_refusal(path)
    try:
        examples = load(path)
    except ValueError as error:
        assert str(path) in str(error)
        return None
    return [text for e in examples for text in astuple(e) if text is not None]


def column_names_or_refusal(path):
    try:
        assert all(isinstance(name, str) for name in column_names(path))
    except ValueError as error:
        assert str(path) in str(error)


@quick
@given(content=anything, head=st.sampled_from([b"", b"source,target\n", b"text,label,second\r\n"]))
def test_a_csv_of_anything(folder, content, head):
    for load in (load_task_file, load_labelled_file):
        found = read(load, folder / "any.csv", head + content)
        assert found is None or all(text.strip() and len(ByteTokenizer().encode(text)) for text in found)


@quick
@given(rows=st.lists(st.dictionaries(st.sampled_from(["source", "target", "text", "label"]), json_values), max_size=4))
def test_a_jsonl_of_anything(folder, rows):
    content = "\n".join(map(json.dumps, rows)).encode()
    for load in (load_task_file, load_labelled_file):
        found = read(load, folder / "any.jsonl", content)
        assert found is None or all(text.strip() and len(ByteTokenizer().encode(text)) for text in found)


messages = st.lists(
    st.dictionaries(
        st.sampled_from(["role", "content", "tool_calls"]),
        json_values | st.sampled_from(["user", "assistant", "system"]),
        max_size=3,
    ),
    max_size=4,
)
FORMS = ["messages", "prompt", "completion", "text"]


@quick
@given(rows=st.lists(st.dictionaries(st.sampled_from(FORMS), json_values | messages, max_size=4), max_size=3))
def test_conversations_of_anything(folder, rows):
    path = folder / "said.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    column_names_or_refusal(path)
    try:
        read = load_conversations(path)
    except ValueError as error:
        assert str(path) in str(error) and str(error).isprintable()
        return
    for item in read:
        assert item.strip() if isinstance(item, str) else item.answers and item.key.strip()


@quick
@given(content=st.binary(max_size=200), repeats=st.sampled_from([1, 50]))
def test_a_text_of_anything(folder, content, repeats):
    path = folder / "any.txt"
    path.write_bytes(content * repeats)
    try:
        documents = load_text_file(path).documents
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert all(document.text for document in documents)


fields = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(str.strip)


@quick
@given(rows=st.lists(st.tuples(fields, fields), min_size=1, max_size=6))
def test_what_is_right_comes_back(folder, rows):
    made = io.StringIO(newline="")
    csv.writer(made).writerows([("source", "target"), *rows])
    (folder / "right.csv").write_bytes(made.getvalue().encode())
    assert [(e.source, e.target) for e in load_task_file(folder / "right.csv")] == rows
    lines = "".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in rows)
    (folder / "right.jsonl").write_text(lines)
    assert [(e.source, e.target) for e in load_task_file(folder / "right.jsonl")] == rows


@quick
@given(st.lists(st.sampled_from(["word ", "\n", "\n\n", "  ", "x" * 1500, "é", "many words " * 160]), max_size=40))
def test_cutting_loses_nothing_but_white_space_at_the_end(parts):
    text = "".join(parts)
    joined = "".join(cut(text))
    assert text.startswith(joined) and not text[len(joined) :].strip()


@pytest.mark.parametrize("name", ["line.txt", "line.csv", "line.jsonl"])
def test_a_line_of_100_MB_is_refused_before_it_is_read(tmp_path, name):
    with open(tmp_path / name, "wb") as file:
        file.truncate(100_000_000)
    started = time.process_time()
    with pytest.raises(ValueError, match=rf"{name} has 100,000,000 bytes; it must have at most 20,000,000"):
        (load_text_file if name == "line.txt" else load_task_file)(tmp_path / name)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("name", ["line.csv", "line.jsonl"])
def test_a_line_of_a_table_is_refused_before_it_becomes_many_times_as_large(tmp_path, name):
    head, item, tail = ("source,target\n", ",", "\n") if name == "line.csv" else ('{"source": [', "[],", "[]]}\n")
    (tmp_path / name).write_text(head + item * (12_000_000 // len(item)) + tail)
    tracemalloc.start()
    with pytest.raises(ValueError, match=rf"{name}, line \d: it has 12,000,\d+ characters; it must have at m"):
        load_task_file(tmp_path / name)
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert memory < 40_000_000
    column_names_or_refusal(tmp_path / name)


def largest(name):
    """The content of a file that takes as much memory as one of its kind may."""
    if name == "rows.csv":
        return "source,target\n" + "".join(f"{i},{i % 7}\n" for i in range(MOST_ROWS))
    if name == "rows.jsonl":
        return "".join(f'{{"source": "{i}", "target": "{i % 7}"}}\n' for i in range(MOST_ROWS))
    if name == "said.jsonl":
        turn = '{"role": "user", "content": ""}, {"role": "assistant", "content": "a"}'.replace('""', '"b"')
        line = f'{{"messages": [{", ".join([turn] * 100)}]}}\n'
        return line * min(LARGEST_FILE // len(line), MOST_ROWS // 200)
    lines = "".join(f"{i}\r\n" for i in range(LARGEST_FILE // 9))
    return "\ufeff\U0001f600" + lines  # of one emoji, each character takes four bytes


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "said.jsonl", "text.txt"])
def test_the_largest_files_are_read_in_200_MB_beyond_their_size(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(largest(name).encode())
    load = {"text.txt": "load_text_file", "said.jsonl": "load_conversations"}.get(name, "load_task_file")
    program = (
        f"from fuzz import run; from minilora.data import {load}\n"
        f"run.limit_memory(run.BYTES + {path.stat().st_size}); {load}({str(path)!r}); print('read')"
    )
    tests = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tests)
    assert done.stdout == "read\n", done.stderr


@pytest.mark.parametrize(("word", "is_cut"), [("word ", True), ("x", False)])
def test_a_line_of_megabytes_is_cut_at_words_in_little_time_and_memory(tmp_path, word, is_cut):
    text = word * (3_000_000 // len(word))
    started = time.process_time()
    tracemalloc.start()
    pieces = cut(text)
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "".join(pieces) == text and (max(map(len, pieces)) < 2100) == is_cut
    assert time.process_time() - started < 2 and memory < 5 * len(text)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", b'{"source": ' + b"9" * 5000 + b"}", "line 1 is not JSON"),
        ("a.jsonl", b'{"source": "\\ud800", "target": "b"}', "line 1: source has a lone surrogate"),
        ("a.csv", b"source,target\n" + b"x" * 200_000 + b",b\n", "after line 1: not CSV: field larger"),
        ("a.csv", "source,target\na,b\n".encode("utf-16"), "is not UTF-8|has a NUL byte"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"path: .*{name}.* ?({message})"):
        load_task_file(tmp_path / name)
    column_names_or_refusal(tmp_path / name)


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_line_breaks_of_every_system_are_read(tmp_path, end):
    (tmp_path / "a.csv").write_bytes(end.join(["source,target", "a,b", "c,d", ""]).encode())
    assert [astuple(e) for e in load_task_file(tmp_path / "a.csv")] == [("a", "b", "a"), ("c", "d", "c")]


def test_too_many_rows_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("minilora.data.files.MOST_ROWS", 2)
    (tmp_path / "a.csv").write_text("source,target\n" + "a,b\n" * 3)
    with pytest.raises(ValueError, match="a.csv has more than 2 rows"):
        load_task_file(tmp_path / "a.csv")


def test_too_many_messages_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("minilora.data.conversations.MOST_ROWS", 3)
    turn = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (tmp_path / "a.jsonl").write_text((json.dumps({"messages": turn}) + "\n") * 2)
    with pytest.raises(ValueError, match="a.jsonl has more than 3 messages"):
        load_conversations(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * 4)
    with pytest.raises(ValueError, match="a.jsonl has more than 3 rows"):
        load_conversations(tmp_path / "a.jsonl")


def test_what_a_conversation_says_reaches_no_terminal_raw_or_at_length(tmp_path):
    odd = "\x1b]0;title\x07" + "y" * 100_000
    for row in ({"messages": odd}, {"messages": [{"role": odd, "content": "a"}]}, {"prompt": [odd], "completion": "a"}):
        (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
        with pytest.raises(ValueError, match="a.jsonl, line 1: ") as error:
            load_conversations(tmp_path / "a.jsonl")
        assert str(error.value).isprintable() and len(str(error.value)) < 500


def test_a_csv_costs_what_it_holds_and_not_columns_times_rows(tmp_path):
    """150,002 columns, which no row has, once took 6 seconds of 500 rows."""
    path = tmp_path / "wide.csv"
    path.write_text("source,target" + "," * 150_000 + "\n" + "a,b\n" * 500)
    started = time.process_time()
    assert len(load_task_file(path)) == 500 and time.process_time() - started < 0.5
    path.write_text("source,target" + "," * 900_000 + "\n" + "a," + "," * 900_000 + "\n")
    started = time.process_time()
    with pytest.raises(ValueError, match="line 2: target must be a text that is not empty, not ''"):
        load_task_file(path)
    assert time.process_time() - started < 0.5


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("source,target,source,more,more\na,b,c,d,e\n")
    with pytest.raises(ValueError, match="a.csv has the column source twice; there must be one of each"):
        load_task_file(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("source,target,more,more\na,b,d,e\n")
    assert [astuple(e) for e in load_task_file(tmp_path / "a.csv")] == [("a", "b", "a")]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_what_a_table_says_reaches_no_terminal_raw_or_at_length(tmp_path, name):
    odd = "\x1b]0;title\x07" + "y" * 100_000
    contents = {"a.csv": f"source,{odd}\na,b\n", "a.jsonl": json.dumps({"source": "a", "target": [odd]}) + "\n"}
    (tmp_path / name).write_text(contents[name])
    with pytest.raises(ValueError, match=name) as error:
        load_task_file(tmp_path / name)
    assert str(error.value).isprintable() and len(str(error.value)) < 500
