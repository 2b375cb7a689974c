import ast
import platform
from itertools import islice

import pytest

from minilora.data import corpus_id, load_corpus, load_pairs, split_of
from minilora.data.prose import is_prose, paragraphs, prose_texts
from minilora.data.source_code import without_docstrings
from minilora.data.stdlib_source import is_included


@pytest.fixture(scope="module")
def prose():
    return load_corpus("prose")


@pytest.fixture(scope="module")
def code():
    return load_corpus("code")


def size(texts):
    return sum(len(text.encode("utf-8")) for text in texts)


def test_sizes(prose, code):
    assert 1.2e6 < size(document.text for document in prose.documents) < 1.8e6
    assert 3e6 < size(document.text for document in code.documents) < 8e6
    assert 4000 < len(load_pairs()) < 6000


def test_prose_is_deterministic(prose):
    """Its first 150 documents, topics and files, read a second time and not kept from the first."""
    again = list(islice(prose_texts(), 150))
    assert again == [(document.key, document.text) for document in prose.documents[:150]]
    assert any(key.startswith("topics/") for key, _ in again) and any(key.endswith(".py") for key, _ in again)
    assert prose.id == corpus_id(document.text for document in prose.documents)
    assert prose.python == platform.python_version()


def test_splits_are_disjoint_and_complete(prose, code):
    for corpus in (prose, code):
        by_split = {split: corpus.texts(split) for split in ("train", "valid", "test")}
        assert sum(map(len, by_split.values())) == len(corpus.documents)
        assert all(document.split == split_of(document.key) for document in corpus.documents)
        assert len({document.key for document in corpus.documents}) == len(corpus.documents)
        total = size(document.text for document in corpus.documents)
        for split in ("valid", "test"):
            assert 0.02 < size(by_split[split]) / total < 0.12


def test_no_paragraph_of_held_out_prose_is_in_train(prose):
    train = {line for text in prose.texts("train") for line in text.splitlines()}
    held_out = [line for text in prose.texts("valid") + prose.texts("test") for line in text.splitlines()]
    assert len(held_out) > 500
    assert not train.intersection(held_out)


def test_prose_is_printable_ascii_without_code(prose):
    for document in prose.documents:
        assert document.text.replace("\n", "").isprintable() and document.text.isascii()
        assert ">>>" not in document.text and "::=" not in document.text
        assert document.text.endswith("\n") and "\n\n" not in document.text


def test_prose_has_topics_docstrings_and_comments(prose):
    text = {document.key: document.text for document in prose.documents}
    assert "Assert statements are a convenient way to insert debugging assertions" in text["topics/assert"]
    assert "Wrap a single paragraph of text, returning a list of wrapped lines." in text["textwrap.py"]
    assert "This class implements the algorithm in a straightforward" not in text["textwrap.py"]


def test_code_parses_and_has_no_docstrings_or_comments(code):
    tree = ast.parse(next(document.text for document in code.documents if document.key == "textwrap.py"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert len(functions) > 10
    assert not any(ast.get_docstring(node) for node in functions)
    assert not any(line.lstrip().startswith("# ") for line in code.documents[0].text.splitlines())


def test_without_docstrings():
    source = '"""A."""\nclass A:\n    """B."""\n\ndef f(x):\n    """C."""\n    return "kept"  # gone\n'
    expected = "class A:\n    pass\n\ndef f(x):\n    return 'kept'"
    assert without_docstrings(ast.parse(source)) == expected


@pytest.mark.parametrize(
    "paragraph",
    [
        "Return the number of items in the queue.",
        'The "assert" statement is a convenient way to insert debugging assertions into a program:',
    ],
)
def test_prose_is_kept(paragraph):
    assert is_prose(paragraph)


@pytest.mark.parametrize(
    "paragraph",
    [
        ">>> the sum of a list is in x.",
        "The x = y of a and b is the z.",
        'Stmt ::= "assert" and the expression in a list.',
        "if self.closed: return the value.",
        "Copy Paste Delete Insert.",
        "A b-9 12, 13; 14 (15) 16: 17 the 18.",
        "Return it.",
    ],
)
def test_what_is_not_prose_is_dropped(paragraph):
    assert not is_prose(paragraph)


def test_paragraphs_end_at_blank_lines_and_list_items():
    text = "One line\nand a second.\n\nA list:\n- “first” item\n  goes on\n- café\n"
    assert list(paragraphs(text)) == [
        "One line and a second.",
        "A list:",
        '"first" item goes on',
        "cafe",
    ]


def test_tests_and_generated_files_are_excluded():
    assert is_included(("json", "decoder.py"))
    assert not is_included(("test", "test_json.py"))
    assert not is_included(("unittest", "test", "support.py"))
    assert not is_included(("_sysconfigdata__linux_x86_64-linux-gnu.py",))


def test_unknown_corpus_lists_the_names():
    with pytest.raises(ValueError, match="name must be one of prose, code, not 'poems'"):
        load_corpus("poems")


def test_unknown_split_lists_the_names(prose):
    with pytest.raises(ValueError, match="split must be one of train, valid, test, not 'dev'"):
        prose.texts("dev")


def test_pairs():
    pairs = load_pairs()
    assert len({(pair.signature, pair.summary) for pair in pairs}) == len(pairs)
    shorten = next(pair for pair in pairs if pair.signature == "def shorten(text, width, **kwargs)")
    assert shorten.summary == "Collapse and truncate the given text to fit in the given width."
    assert shorten.key == "textwrap.py"
    assert shorten.as_example().target == shorten.as_example(reverse=True).source == shorten.summary
    assert any(pair.signature.startswith("async def ") for pair in pairs)
    for pair in pairs:
        assert pair.signature.startswith(("def ", "async def ")) and pair.signature.endswith(")")
        assert len(pair.signature + pair.summary) <= 240
