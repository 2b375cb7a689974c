"""How the tests run a command, and what they read of what it printed."""

import contextlib
import io
import json
import re
from pathlib import Path

from minilora.cli import main

PNG = b"\x89PNG\r\n\x1a\n"
QUICK = ("--steps", "2", "--batch-size", "2", "--threads", "1", "--lr", "0.05")


def prints(*arguments):
    """Run a command that must succeed; returns what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = main([str(a) for a in arguments])
    assert status == 0
    return printed.getvalue()


def check_refused(arguments, message, folder, capsys):
    """Run a command that must fail: it says why in one line, prints nothing else, and leaves the folder as it was."""
    before = sorted(folder.rglob("*"))
    try:
        status = main([str(a) for a in arguments])
        said = capsys.readouterr()
        assert status == 2
        (line,) = said.err.splitlines()
        assert line.startswith(f"minilora {arguments[0]}: ") and re.search(message, line), line
        assert sorted(folder.rglob("*")) == before
    finally:
        for path in sorted(set(folder.rglob("*")) - set(before), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


def read(path):
    """What a JSON file holds."""
    return json.loads(Path(path).read_text())


def measures(printed):
    """What `finetune` and `evaluate` both print of texts: the measures."""
    return [line for line in printed.splitlines() if line.startswith(("loss", "slot-exact"))]


def table_of(printed):
    """What `finetune` and `evaluate` both print of classes: a line of loss, and a table of scores."""
    lines = printed.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("loss "))
    return lines[start : start + 7]


def rows_of(printed):
    """The cells of each layer in what `rank` and `subspace` print, by its path."""
    lines = [re.split(r"\s{2,}", line) for line in printed.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if cells[0].startswith("blocks.")}
