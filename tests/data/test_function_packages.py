from collections import Counter

import pytest

from minilora.data import function_packages, load_pairs
from minilora.data.function_packages import PACKAGES, package_of, packages_of_functions
from minilora.data.pairs import Pair

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def splits():
    return packages_of_functions()


def test_every_package_has_examples_in_every_split(splits):
    for split, least in zip(SPLITS, (40, 5, 5), strict=True):
        counts = Counter(example.label for example in splits[split])
        assert set(counts) == set(PACKAGES) and min(counts.values()) >= least, split


def test_labels_are_where_the_function_stands(splits):
    files = {}
    for pair in load_pairs():
        files.setdefault((pair.signature, pair.summary), set()).add(pair.key)
    for example in (example for split in SPLITS for example in splits[split]):
        tops = {key.replace("\\", "/").split("/")[0] for key in files[example.text, example.second]}
        assert tops <= {example.label, f"{example.label}.py", f"_py{example.label}.py"}


def test_no_text_is_in_two_splits(splits):
    texts = [{(e.text, e.second) for e in splits[split]} for split in SPLITS]
    assert sum(map(len, texts)) == len(set.union(*texts)) == sum(map(len, splits.values()))


def test_what_two_packages_say_is_no_question(monkeypatch):
    pairs = [Pair("def f()", "Do.", f"{package}/a.py") for package in ("email", "xml")]
    pairs += [Pair("def g()", "Do.", "xml/a.py"), Pair("def g()", "Do.", "xml/b.py"), Pair("def h()", "Do.", "os.py")]
    monkeypatch.setattr(function_packages, "load_pairs", lambda: pairs)
    found = [example for examples in packages_of_functions().values() for example in examples]
    assert [(example.text, example.label) for example in found] == [("def g()", "xml")]


@pytest.mark.parametrize(
    ("path", "package"),
    [("xml/dom/minidom.py", "xml"), ("xml\\dom\\minidom.py", "xml"), ("_pydecimal.py", "decimal"), ("os.py", "os")],
)
def test_a_package_is_named_as_it_is_imported(path, package):
    assert package_of(path) == package
