"""The user's own text and tasks, read from files.

Whatever is wrong with a file raises a ValueError that names the file and the place in it.
"""

import csv
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from minilora.data.corpora import Corpus, Document, make_corpus
from minilora.data.example import Example, LabelledExample
from minilora.limits import one_line_errors, parse_json, shown

DOCUMENT_SIZE = 1000  # characters, about
LARGEST_FILE = 20_000_000  # bytes; of one emoji, Python holds each character of a text in four bytes
MOST_ROWS = 500_000  # each takes some 150 bytes in addition to its texts
LONGEST_LINE = 1_000_000  # characters, in a table
LINE = re.compile(r"[^\n]*\n|[^\n]+")
LINE_PART = re.compile(rf"(?s).{{{DOCUMENT_SIZE}}}\S*\s*|.+")  # of a long line: up to the end of a word
TASK_COLUMNS = ("source", "target")
LABELLED_COLUMNS = ("text", "label")


@one_line_errors()
def load_text_file(path: str | Path) -> Corpus:
    """A text file as a corpus whose train, valid and test splits all hold something.

    The text is cut into documents of about 1 KB, at blank lines where there are any. A twentieth of them, at
    least one, are held out for valid, and as many for test: those whose hashes come first.

    Parameters
    ----------
    path : str or Path
        A text file in UTF-8, of about 5 KB or more.
    """
    path = Path(path)
    texts = list(dict.fromkeys(cut(read_text(path))))  # each once: no held-out document is in train too
    if len(texts) < 3:
        raise ValueError(
            f"path: {path} is too short: cut at line breaks into documents of about {DOCUMENT_SIZE} "
            f"characters, it makes {len(texts)} different ones; train, valid and test need at least one each"
        )
    keys = [sha256(text.encode("utf-8")).hexdigest() for text in texts]
    n_held_out = max(1, len(texts) // 20)
    by_hash = sorted(range(len(texts)), key=lambda i: keys[i])
    splits = dict.fromkeys(by_hash, "train")
    splits.update(dict.fromkeys(by_hash[:n_held_out], "valid"))
    splits.update(dict.fromkeys(by_hash[n_held_out : 2 * n_held_out], "test"))
    return make_corpus(path.name, [Document(keys[i], text, splits[i]) for i, text in enumerate(texts)])


def cut(text: str) -> list[str]:
    """Pieces of about DOCUMENT_SIZE characters that join to the text, cut at blank lines, line ends or, last, words."""
    pieces = []
    piece = ""
    for line in lines_of(text):
        for unit in [line] if len(line) <= DOCUMENT_SIZE else LINE_PART.findall(line):
            piece += unit
            at_paragraph = not unit.strip() and len(piece) >= DOCUMENT_SIZE
            if at_paragraph or len(piece) >= 2 * DOCUMENT_SIZE:
                pieces.append(piece)
                piece = ""
    if piece.strip():
        pieces.append(piece)
    return pieces


def lines_of(text: str) -> Iterator[str]:
    """The lines of a text, one at a time: a list of short ones would take many times the memory of the text."""
    return (match[0] for match in LINE.finditer(text))


def lines_of_table(text: str, path: Path) -> Iterator[str]:
    """The lines of a table; ValueError if one is so long that what it describes could take many times its memory."""
    for number, line in enumerate(lines_of(text), start=1):
        if len(line) > LONGEST_LINE:
            raise ValueError(
                f"path: {path}, line {number}: it has {len(line):,} characters; it must have at most {LONGEST_LINE:,}"
            )
        yield line


@one_line_errors()
def load_task_file(path: str | Path) -> list[Example]:
    """The examples of a .csv file with a header, or of a .jsonl file with one object per line.

    Parameters
    ----------
    path : str or Path
        Its columns, or keys, are source and target; others are ignored. The group key is the source, so that
        the answers to one question stay in one split.
    """
    rows = read_rows(path, TASK_COLUMNS)
    return [Example(row["source"], row["target"], key=row["source"]) for row in rows]


@one_line_errors()
def load_labelled_file(path: str | Path) -> list[LabelledExample]:
    """The labelled examples of a .csv file with a header, or of a .jsonl file with one object per line.

    Parameters
    ----------
    path : str or Path
        Its columns, or keys, are text, label and, if the task is about two texts, second; others are ignored. The
        group key is the text, so that all that is said of one text stays in one split.
    """
    rows = read_rows(path, LABELLED_COLUMNS, optional=("second",))
    return [LabelledExample(row["text"], row["label"], key=row["text"], second=row.get("second")) for row in rows]


@one_line_errors()
def column_names(path: str | Path) -> tuple[str, ...]:
    """The columns of a .csv file, or the keys of the first object of a .jsonl file; empty if there are none."""
    path = Path(path)
    text = read_text(path)
    try:
        if path.suffix.lower() == ".csv":
            return tuple(next(csv.reader(lines_of_table(text, path)), ()))
        first = parse_json(next(line for line in lines_of_table(text, path) if line.strip()), path)
    except (csv.Error, ValueError):
        return ()
    return tuple(first) if isinstance(first, dict) else ()


def read_rows(path: str | Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[dict[str, str]]:
    """The rows of a .csv or .jsonl file as dicts with these columns and, if present, the optional ones."""
    path = Path(path)
    readers = {".csv": csv_rows, ".jsonl": jsonl_rows}
    if path.suffix.lower() not in readers:
        raise ValueError(f"path: the name of a task file must end in {' or '.join(readers)}; {path} does not")
    count = 0
    for number, row in readers[path.suffix.lower()](read_text(path), path, columns, optional):
        count += 1
        if count > MOST_ROWS:
            raise ValueError(f"path: {path} has more than {MOST_ROWS:,} rows")
        check_row(row, (*columns, *(name for name in optional if row.get(name) is not None)), path, number)
        yield row
    if not count:
        raise ValueError(f"path: {path} has no rows")


def csv_rows(
    text: str, path: Path, columns: tuple[str, ...], optional: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV text as dicts of these columns and, if present, the optional ones, with their line numbers.

    Only these are read: the cost of a row does not grow with the header.
    """
    reader, number = csv.reader(lines_of_table(text, path), strict=True), 0
    try:
        header, number = next(reader, []), 1
        if missing := [column for column in columns if column not in header]:
            raise ValueError(
                f"path: {path} lacks the column {' and '.join(missing)}; its header has {', '.join(header)}"
            )
        places = {column: header.index(column) for column in (*columns, *optional) if column in header}
        if twice := [column for column in places if header.count(column) > 1]:
            raise ValueError(f"path: {path} has the column {' and '.join(twice)} twice; there must be one of each")
        for row in reader:
            number = reader.line_num
            if row:  # else a blank line
                yield number, {column: row[i] for column, i in places.items() if i < len(row)}
    except csv.Error as error:
        raise ValueError(f"path: {path}, after line {number}: not CSV: {error}") from error


def jsonl_rows(
    text: str, path: Path, columns: tuple[str, ...], optional: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str]]]:
    """The objects of a text with one JSON object a line, each with the number of its line; blank ones are skipped."""
    for number, line in enumerate(lines_of_table(text, path), start=1):
        if not line.strip():
            continue
        row = parse_json(line, f"path: {path}, line {number}")
        if not isinstance(row, dict):
            raise ValueError(f"path: {path}, line {number}: not a JSON object with {' and '.join(columns)}")
        yield number, row


def check_row(row: dict, columns: tuple[str, ...], path: Path, number: int) -> None:
    """Raise ValueError, naming the line, unless these columns are non-empty texts without NUL."""
    for column in columns:
        value = row.get(column)
        where = f"path: {path}, line {number}"
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{where}: {column} must be a text that is not empty, not {shown(value)}")
        if "\0" in value:
            raise ValueError(f"{where}: {column} has a NUL character")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError(f"{where}: {column} has a lone surrogate, half a character that no encoding has")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with "\\n" for line breaks and without a byte order mark."""
    if path.is_dir():
        raise ValueError(f"path: {path} is a folder, not a file")
    if not path.is_file():
        raise ValueError(f"path: there is no file {path}")
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise ValueError(f"path: {path} has {size:,} bytes; it must have at most {LARGEST_FILE:,}")
    data = path.read_bytes()
    if b"\0" in data:
        raise ValueError(f"path: {path} has a NUL byte at offset {data.index(0)}; it is not a text file")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise ValueError(f"path: {path} is not UTF-8: {byte}") from error
    text = text.removeprefix("\ufeff")  # each reassignment frees the text before it
    text = text.replace("\r\n", "\n")
    text = text.replace("\r", "\n")
    if not text.strip():
        raise ValueError(f"path: {path} is empty")
    return text
