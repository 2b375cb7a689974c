"""Which package does this function come from? Its signature and the first line of its docstring, and twelve packages.

The label is the function's place in the standard library: nobody had to write it. Some docstrings say it themselves
("Returns a copy of the decimal object."); most functions have to be recognised by their names.
"""

from minilora.data.example import LabelledExample
from minilora.data.pairs import load_pairs
from minilora.data.splits import SPLITS, split_of

# Python 3.11 and 3.13 have these, the former with 84 documented functions (urllib) to 254 (asyncio) in each.
PACKAGES = (
    "asyncio",
    "decimal",
    "email",
    "http",
    "importlib",
    "logging",
    "mailbox",
    "multiprocessing",
    "tarfile",
    "unittest",
    "urllib",
    "xml",
)


def packages_of_functions() -> dict[str, list[LabelledExample]]:
    """The functions by split: 15 % are valid and 15 % are test, by the hash of their text.

    The functions are those of the running Python. A text that occurs in two packages is left out. The bundled encoder
    has read most of the docstrings, in all splits, as prose: never a signature, and never the package.
    """
    packages: dict[tuple[str, str], set[str]] = {}
    for pair in load_pairs():
        package = package_of(pair.key)
        if package in PACKAGES:
            packages.setdefault((pair.signature, pair.summary), set()).add(package)
    splits: dict[str, list[LabelledExample]] = {split: [] for split in SPLITS}
    for (signature, summary), [package, *others] in packages.items():
        key = f"{signature}\n{summary}"
        if not others:
            splits[split_of(key, valid=0.15, test=0.15)].append(LabelledExample(signature, package, key, summary))
    return splits


def package_of(path: str) -> str:
    """The package, or module, of a file of the standard library: "xml" of "xml/dom/minidom.py"."""
    name = path.replace("\\", "/").split("/")[0].removesuffix(".py")
    return name.removeprefix("_py")  # decimal is written in _pydecimal.py
