"""The site's pages that are made of something else: the API's, the exercises', and the gallery's pictures."""

import importlib
import inspect
import re
from pathlib import Path

from docstrings import plain

import minilora
from minilora.exercises.sources import blank, exercises, for_students

# The modules of the API, in reading order, and what of them is public where they have no __all__ that says so.
API = {
    "minilora.ops": (),
    "minilora.layers": (),
    "minilora.models": (),
    "minilora.methods": (),
    "minilora.training": (),
    "minilora.distributed": ("join", "SingleProcess", "Ranks"),
    "minilora.models.generation": ("generate",),
    "minilora.models.sampling": ("Sampling",),
    "minilora.gradcheck": ("check_op", "check_model", "numerical_gradient", "complex_step_gradient", "GradientError"),
    "minilora.analysis": (),
    "minilora.accounting": (),
    "minilora.interop": (),
    "minilora.data": (),
    "minilora.plots": (),
}


def api_pages():
    """The API reference, as a dict of file name to reStructuredText."""
    pages = {f"{module}.rst": api_page(module) for module in API}
    modules = "\n".join(f"   {module}" for module in API)
    names = {name: getattr(minilora, name) for name in minilora.__all__}
    parts = [
        title("Reference", "="),
        "Made of the docstrings. Derivations stand above what follows from them; ``[source]`` shows the code.",
        "",
        f".. toctree::\n   :maxdepth: 1\n\n{modules}\n",
        title("What minilora itself has", "-"),
        summaries(names, documented_as),
    ]
    return pages | {"index.rst": "\n".join(parts)}


def api_page(module):
    """One module: what it says of itself, a list of what is in it, and each of its files with what is public there."""
    names = public(module)
    by_file = {}
    for name, value in names.items():
        by_file.setdefault(value.__module__ if callable(value) else "", []).append(name)
    constants = by_file.pop("", [])
    ordered = {name: names[name] for here in by_file.values() for name in here}
    parts = [title(module, "="), f".. automodule:: {module}\n", summaries(ordered, lambda name: f"{module}.{name}")]
    for file, here in by_file.items():
        if file != module:
            parts.append(f"{title(file.removeprefix(f'{module}.'), '-')}\n.. automodule:: {file}\n   :no-index:\n")
        parts += [f".. currentmodule:: {module}\n", *(directive(name, names[name]) for name in here)]
    if constants:
        parts += [title("Constants", "-"), *(f".. autodata:: {name}\n   :no-value:\n" for name in constants)]
    return "\n".join(parts)


def summaries(names, target):
    """A list of functions and classes, each with the first line of its docstring."""
    return "".join(
        f"* :py:obj:`{name} <{target(name)}>`: {plain(inspect.getdoc(value).splitlines()[0])}\n"
        for name, value in names.items()
        if callable(value) and not is_record(value)
    )


def is_record(value):
    """Whether something is a NamedTuple, whose fields and their shapes are best read in its source."""
    return inspect.isclass(value) and issubclass(value, tuple)


def directive(name, value):
    """What makes autodoc document one name."""
    if not inspect.isclass(value):
        return f".. autofunction:: {name}\n"
    if is_record(value):
        source = "\n".join(f"      {line}".rstrip() for line in inspect.getsource(value).splitlines())
        return f".. autoclass:: {name}\n\n   .. code-block:: python\n\n{source}\n"
    if issubclass(value, BaseException):
        return f".. autoexception:: {name}\n"
    return f".. autoclass:: {name}\n   :members:\n"


def public(module):
    """The public names of a module, as a dict to what they are."""
    loaded = importlib.import_module(module)
    return {name: getattr(loaded, name) for name in API[module] or loaded.__all__}


def documented_as(name):
    """Where the reference has a name of the package."""
    return next(f"{module}.{name}" for module in API if name in public(module))


def title(text, line):
    """A heading of reStructuredText."""
    return f"{text}\n{line * len(text)}\n"


EXERCISES = """# Exercises

Each asks for one or two functions of a few lines. `minilora exercises start 1` writes the first one's file, `check 1`
says which tensor is wrong, by how much, and which known mistake it is, and `hint 1` gives the next of three hints. How
to go about it, and the capstone, stand on a page for [students](README.md); what a [teacher](TEACHING.md) needs, on
another.

| exercise | difficulty, of 5 | minutes |
|---|---|---|
{rows}

```{{toctree}}
:hidden:
:glob:

README
[0-9]*
TEACHING
```
"""


def exercise_pages():
    """The exercises without their solutions, as a dict of file name to Markdown."""
    pages = {f"{exercise.file_name[:-3]}.md": exercise_page(exercise) for exercise in exercises()}
    rows = [f"| [{e.number}. {e.title}]({e.file_name[:-3]}.md) | {e.difficulty} | {e.minutes} |" for e in exercises()]
    return pages | {"index.md": EXERCISES.format(rows="\n".join(rows))}


def exercise_page(exercise):
    """One exercise: its text, the code that is given, and the commands."""
    parts = [
        cell.markdown or f"```python\n{blank(cell.text, exercise).strip()}\n```"
        for cell in exercise.cells
        if for_students(cell) and not cell.has("check")
    ]
    commands = "\n".join(f"minilora exercises {verb} {exercise.number}" for verb in ("start", "check", "hint"))
    return "\n\n".join([*parts, f"## Begin\n\n```sh\n{commands}\n```"]) + "\n"


def gallery(page, folder):
    """The figures' page, in Markdown, followed by the pictures that its table names, each with command and numbers."""
    pictures, command, numbers = [], "", ""
    for files, what, made in re.findall(r"^\| (`.+?) \| (.+?) \| (.+?) \|$", page, re.MULTILINE):
        command = command if made == "the same" else made
        names = [name for named in re.findall(r"`([^`]+)`", files) for name in those_in(folder, named)]
        numbers = next((name for name in names if name.endswith(".json")), numbers)
        for name in names:
            if name.endswith(".png"):
                beside = numbers and Path(name).parent == Path(numbers).parent
                where = f"; numbers in [{numbers}]({numbers})" if beside else ""
                pictures.append(f"![{what}]({name})\n\n`{name}`: {what}. Made with {command}{where}.")
    return "\n\n".join([page.rstrip(), "## Pictures", *pictures]) + "\n"


def those_in(folder, name):
    """The file of a name, or, if it ends in a slash, the files in the folder of this name."""
    inside = sorted((folder / name).iterdir()) if name.endswith("/") else [folder / name]
    return [path.relative_to(folder).as_posix() for path in inside]
