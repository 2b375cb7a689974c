"""What the docstrings of the package need before Sphinx takes them for reStructuredText."""

import re
import textwrap

from formulas import typeset


def prepare(app, what, name, obj, options, lines):
    """Change a docstring's lines in place, before napoleon reads its sections."""
    made_by_python = what == "class" and "\n".join(lines).startswith(f"{obj.__name__}(")  # of the signature
    if what == "data" or made_by_python:
        lines.clear()
    if what == "property" and lines:  # in whose first line napoleon takes what stands before a colon for a type
        lines[:1] = lines[0].replace(": ", ":\n").split("\n")
    of_ops = (getattr(obj, "__module__", None) or name).startswith("minilora.ops")
    made, inside, before, left_out = [], False, 0, 0
    for i, line in enumerate(lines):
        if i < left_out:
            continue
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent <= before:
            inside = False
        if indent > before and not inside and not lines[i - 1].strip():
            block = block_at(lines, i, indent)
            formula = typeset(textwrap.dedent("\n".join(block)).split("\n")) if of_ops else None
            if formula is not None:
                made += [" " * before + ".. math::", "", *(" " * indent + each for each in formula), ""]
                left_out = i + len(block)
                continue
            made += [" " * before + "::", ""]  # a block behind an empty line is a formula or code, shown as it stands
            inside = True
        if line.strip() and not inside:
            before = indent
        made.append(line if inside else plain(line))
    lines[:] = made


def block_at(lines, start, indent):
    """The lines of a block, from its first to the one before a line that is indented less."""
    end = start
    while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) >= indent):
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    return lines[start:end]


def plain(line):
    """A line of prose, in which |A|, *args and x_ mean themselves, and "V." begins no list; `code` stays code."""
    parts = re.split(r"(`+[^`]+`+)", line)
    line = "".join(part if i % 2 else re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", part) for i, part in enumerate(parts))
    return re.sub(r"^(\s*[A-Za-z])\.(?=\s|$)", r"\1\\.", line)
