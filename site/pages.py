"""The site's pages that are made of something else: the API's, the exercises', and the gallery's pictures."""

import importlib
import inspect
import re
import textwrap
import types
from pathlib import Path

from docstrings import plain
from formulas import typeset

import minilora
from minilora.exercises.sources import blank, exercises, for_students

TUTORIALS = Path(__file__).resolve().parent.parent / "tutorials"

# The modules of the API, in reading order, and what of them is public where they have no __all__ that says so.
API = {
    "minilora.ops": (),
    "minilora.layers": (),
    "minilora.models": (),
    "minilora.methods": (),
    "minilora.training": (),
    "minilora.distributed": ("join", "SingleProcess", "Ranks"),
    "minilora.models.sampling": ("Sampling",),
    "minilora.gradcheck": ("check_op", "check_model", "numerical_gradient", "complex_step_gradient", "GradientError"),
    "minilora.analysis": (),
    "minilora.accounting": (),
    "minilora.interop": (),
    "minilora.data": (),
    "minilora.plots": (),
}


# The files of the ops, in reading order, under headings.
READING_ORDER = {
    "LoRA": ("lora_linear", "linear"),
    "A transformer": ("attention", "softmax", "layernorm", "gelu", "embedding", "cross_entropy", "dropout"),
    "A Llama": ("rmsnorm", "rope", "rope_table", "silu", "silu_gate"),
    "Other methods": ("dora_linear", "lora_fa_linear", "vera_linear", "random_subspace", "prefix", "relu", "tanh"),
    "Training": ("adamw", "policy_gradient", "linear_cross_entropy", "take_rows"),
    "DeBERTa": ("disentangled_attention", "log_buckets", "conv1d"),
    "Few bits": ("nf4", "double_quantization", "gguf_blocks"),
    "Switches and helpers": ("plain", "rows"),
}

# The notebook that prepares each exercise, as the exercise itself says.
PREPARED_BY = {exercise.number: exercise.notebook for exercise in exercises()}


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
        by_file.setdefault(value.__module__ if is_code(value) else "", []).append(name)
    constants = by_file.pop("", [])
    if module == "minilora.ops":
        by_file = in_reading_order(by_file)
    ordered = {name: names[name] for here in by_file.values() for name in here}
    parts = [title(module, "="), f".. automodule:: {module}\n", summaries(ordered, lambda name: f"{module}.{name}")]
    for file, here in by_file.items():
        if file != module:
            parts.append(f"{title(file.removeprefix(f'{module}.'), '-')}\n.. automodule:: {file}\n   :no-index:\n")
        parts += [f".. currentmodule:: {module}\n", *(directive(name, names[name]) for name in here)]
    if constants:
        parts += [title("Constants", "-"), *(constant(name, names[name]) for name in constants)]
    return "\n".join(parts)


def in_reading_order(by_file):
    """The ops' names by file, in the order of READING_ORDER; a file that it does not name comes before the helpers.

    A forward stands before its backward.
    """
    *groups, helpers = READING_ORDER.values()
    known = {f"minilora.ops.{name}" for group in READING_ORDER.values() for name in group}
    first = [f"minilora.ops.{name}" for group in groups for name in group]
    last = [f"minilora.ops.{name}" for name in helpers]
    order = [*first, *sorted(by_file.keys() - known), *last]
    return {file: sorted(by_file[file], key=is_backward) for file in order if file in by_file}


def is_backward(name):
    """Whether a name is a backward's."""
    return name.endswith("_backward")


def summaries(names, target):
    """A list of functions and classes, each with the first line of its docstring."""
    return "".join(
        f"* :py:obj:`{name} <{target(name)}>`: {plain(inspect.getdoc(value).splitlines()[0])}\n"
        for name, value in names.items()
        if is_code(value) and not is_record(value)
    )


def is_code(value):
    """Whether something is a function or a class, and not a constant or the name of a type."""
    return callable(value) and not isinstance(value, types.GenericAlias)


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


def constant(name, value):
    """What documents a constant; the name of a type, such as dict[str, str], has no source to be shown."""
    if isinstance(value, types.GenericAlias):
        return f".. object:: {name}\n\n   ``{value}``\n"
    return f".. autodata:: {name}\n   :no-value:\n"


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
    """One exercise: its text, the notebook that prepares it, the code that is given, and the commands."""
    parts = [
        with_formulas(without_notebook(cell.markdown)) or f"```python\n{blank(cell.text, exercise).strip()}\n```"
        for cell in exercise.cells
        if for_students(cell) and not cell.has("check")
    ]
    notebook = PREPARED_BY[exercise.number]
    parts.insert(1, f"*What it needs is in notebook [{title_of(notebook)}](../{notebook}.ipynb).*")
    commands = "\n".join(f"minilora exercises {verb} {exercise.number}" for verb in ("start", "check", "hint"))
    return "\n\n".join([*parts, f"## Begin\n\n```sh\n{commands}\n```"]) + "\n"


def title_of(notebook):
    """The number and title of a notebook, such as "3. LoRA by hand"."""
    text = (TUTORIALS / f"{notebook}.py").read_text(encoding="utf-8")
    return re.search(r"^# # (.+)$", text, re.MULTILINE)[1]


def without_notebook(markdown):
    """An exercise's text without the line that names its notebook, for which the page has a link."""
    return markdown and re.sub(r"^\*The formula at work: .+\*\n\n", "", markdown, flags=re.MULTILINE)


def with_formulas(markdown):
    """Markdown whose indented blocks are typeset, where they are formulas."""

    def display(match):
        lines = typeset(textwrap.dedent(match[0]).strip("\n").split("\n"))
        return match[0] if lines is None else "\n".join(["$$", *lines, "$$", ""])

    return markdown and re.sub(r"(?<=\n\n)(?: {4}.*(?:\n|$)|\n(?= {4}))+", display, markdown)


def linked_inside(text, folder, root, repository):
    """Markdown in which a link to what the site does not have leads to the repository, if that has an address.

    Parameters
    ----------
    text : str
    folder : Path
        Where the page is.
    root : Path
        Of the site's sources.
    repository : str
        Its address, or empty.
    """

    def link(match):
        there = (folder / match[2]).resolve()
        if there.is_file():
            return match[0]
        if there.with_suffix(".md").is_file():  # an exercise
            return f"[{match[1]}]({Path(match[2]).with_suffix('.md')})"
        return f"[{match[1]}]({repository}/tree/main/{there.relative_to(root.resolve())})" if repository else match[1]

    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)\)", link, text)


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
