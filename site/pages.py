"""The site's pages that are made of something else: the API's, the exercises', and the gallery's pictures."""

import importlib
import inspect
import re

import minilora
from minilora.exercises.sources import blank, exercises, for_students

# The modules of the API, in reading order, and what of them is public where they have no __all__ that says so.
API = {
    "minilora.ops": (),
    "minilora.layers": (),
    "minilora.models": (),
    "minilora.methods": (),
    "minilora.training": (),
    "minilora.generation": ("generate", "choose_tokens"),
    "minilora.gradcheck": ("check_op", "check_model", "numerical_gradient", "complex_step_gradient", "GradientError"),
    "minilora.analysis": (),
    "minilora.interop": (),
    "minilora.data": (),
    "minilora.plots": (),
}


def api_pages():
    """The API reference, as a dict of file name to reStructuredText."""
    pages = {f"{module}.rst": api_page(module) for module in API}
    listed = "\n".join(f"   {module}" for module in API)
    names = "\n".join(f"* :py:obj:`{name} <{documented_as(name)}>`: {summary}" for name, summary in top_level())
    return pages | {
        "index.rst": f"{title('Reference', '=')}\nMade of the docstrings; ``[source]`` beside a name shows its code, and "
        f"formulas stand above the functions that compute them.\n\n.. toctree::\n   :maxdepth: 1\n\n{listed}\n\n"
        f"{title('What minilora itself has', '-')}\n{names}\n"
    }


def api_page(module):
    """One module: what it says of itself, a list of what is in it, and each of its files with what is public there."""
    names = public(module)
    files = {}
    for name, value in names.items():
        files.setdefault(getattr(value, "__module__", None) if callable(value) else None, []).append(name)
    constants = files.pop(None, [])
    listed = "\n".join(f"   {name}" for name in names if name not in constants)
    parts = [
        title(module, "="),
        f".. automodule:: {module}\n\n.. currentmodule:: {module}\n\n.. autosummary::\n   :nosignatures:\n\n{listed}\n",
    ]
    for file, here in files.items():
        if file != module:
            parts.append(f"{title(file.removeprefix(f'{module}.'), '-')}\n.. automodule:: {file}\n   :no-index:\n")
        parts += [f".. currentmodule:: {module}\n", *(directive(name, names[name]) for name in here)]
    if constants:
        parts += [f"{title('Constants', '-')}", *(f".. autodata:: {name}\n   :no-value:\n" for name in constants)]
    return "\n".join(parts)


def directive(name, value):
    """What makes autodoc document one name."""
    if not inspect.isclass(value):
        return f".. autofunction:: {name}\n"
    if issubclass(value, tuple):  # its fields and their shapes are best read in the source
        source = "\n".join(f"      {line}".rstrip() for line in inspect.getsource(value).splitlines())
        return f".. autoclass:: {name}\n\n   .. code-block:: python\n\n{source}\n"
    if issubclass(value, BaseException):
        return f".. autoexception:: {name}\n"
    return f".. autoclass:: {name}\n   :members:\n"


def public(module):
    """The public names of a module, as a dict to what they are."""
    loaded = importlib.import_module(module)
    return {name: getattr(loaded, name) for name in API[module] or loaded.__all__}


def top_level():
    """The names of the package itself, each with the first line of its docstring."""
    for name in minilora.__all__:
        value = getattr(minilora, name)
        if callable(value):
            yield name, inspect.getdoc(value).splitlines()[0]


def documented_as(name):
    """Where the reference has a name of the package."""
    return next(f"{module}.{name}" for module in API if name in public(module))


def title(text, line):
    """A heading of reStructuredText."""
    return f"{text}\n{line * len(text)}\n"


def exercise_pages():
    """The exercises without their solutions, as a dict of file name to Markdown."""
    pages = {f"{exercise.file_name[:-3]}.md": exercise_page(exercise) for exercise in exercises()}
    rows = [
        f"| [{e.number}. {e.title}]({e.file_name[:-3]}.md) | {e.difficulty} | {e.minutes} |" for e in exercises()
    ]
    head = (
        "# Exercises\n\nEach asks for one or two functions of a few lines. `minilora exercises start 1` writes the file of the "
        "first one, `check 1` says which tensor is wrong, by how much, and which known mistake it is, and `hint 1` gives the "
        "next of three hints. What a [teacher](README.md) needs stands on a page of its own.\n\n"
        "| exercise | difficulty, of 5 | minutes |\n|---|---|---|\n"
    )
    return pages | {"index.md": head + "\n".join(rows) + "\n"}


def exercise_page(exercise):
    """One exercise: its text, the code that is given, and the commands."""
    parts = [
        cell.markdown or f"```python\n{blank(cell.text, exercise).strip()}\n```"
        for cell in exercise.cells
        if for_students(cell) and not cell.has("check")
    ]
    commands = "\n".join(f"minilora exercises {verb} {exercise.number}" for verb in ("start", "check", "hint"))
    return "\n\n".join([*parts, f"## Begin\n\n```sh\n{commands}\n```"]) + "\n"


def gallery(page, pictures):
    """The figures' page, followed by the pictures that its table names and that it does not show.

    Parameters
    ----------
    page : str
        Markdown.
    pictures : list of str
        File names, as the page has them.
    """
    rows = re.findall(r"^\| (.+?) \| (.+?) \|", page, re.MULTILINE)
    captions = {name: what for files, what in rows for name in re.findall(r"`([^`]+\.png)`", files)}
    shown = [f"### {captions[name]}\n\n![{captions[name]}]({name})" for name in pictures if name in captions]
    return f"{page.rstrip()}\n\n## Pictures\n\n" + "\n\n".join(shown) + "\n"
