"""Documentation in small becomes a corpus: prose alone, each paragraph once, nothing of mini-E2E, and it is checked."""

import hashlib

import pytest

from minilora.data.corpora import load_corpus
from minilora.data.corpus_folder import corpus_attributes, corpus_record, corpus_texts, make_corpus_folder
from minilora.data.documentation import CleanDocuments, Source, page_paragraphs
from minilora.data.mini_e2e_material import mini_e2e_material

PAGE = """<html><head><title>The title of the page is not read.</title></head><body>
<nav><p>The navigation is not read, and it is a sentence.</p></nav>
<p>A <b>paragraph</b> that goes on over
two lines, with <code>code</code> in it.</p>
<pre>This is code that looks as if it were a sentence.</pre>
<ul><li>An item of a list is a paragraph as well.<li>And so is the one that comes after it.</ul>
<p>x = y + {1}</p>
<table><tr><td>A cell of a table is not a paragraph of prose.</td></tr></table>
</body></html>"""
READ = [
    "A paragraph that goes on over two lines, with code in it.",
    "An item of a list is a paragraph as well.",
    "And so is the one that comes after it.",
]


def test_a_page_is_its_prose():
    assert page_paragraphs(PAGE) == READ


def test_a_paragraph_is_kept_once_and_never_with_something_of_mini_e2e():
    clean = CleanDocuments()
    documents = [
        ("first", ["The same is said.", "You will find it near the station."]),
        ("second", ["The same is said!", "You will find it near the station."]),
        ("third", ["Another is said."]),
    ]
    assert list(clean.clean(documents)) == [("first", "The same is said.\n"), ("third", "Another is said.\n")]
    assert clean.of_mini_e2e == 1 and clean.seen_before == 2


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The folder of a corpus of the standard library and a page, and its record."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "html" / "deep").mkdir(parents=True)
    (folder / "html" / "deep" / "page.html").write_text(PAGE)
    (folder / "html" / "other.html").write_text(PAGE.replace("as well", "too").replace("after", "behind"))
    source = Source("a-doc", str(folder / "html"), "a licence")
    return folder / "corpus", make_corpus_folder(folder / "corpus", [source])


def test_a_corpus_folder_has_the_texts_and_says_what_they_are(corpus):
    folder, record = corpus
    assert corpus_record(folder) == record and corpus_attributes(folder) == {}
    texts = [text for split in ("train", "valid", "test") for text in corpus_texts(folder, "a-doc", split)]
    assert sorted(texts) == sorted(
        [
            "\n".join(READ) + "\n",
            "\n".join(new.replace("as well", "too").replace("after", "behind") for new in READ[1:]) + "\n",
        ]
    )
    assert record["a-doc"]["licence"] == "a licence" and record["a-doc"]["paragraphs_seen_before"] == 1
    data = (folder / "stdlib.train.txt").read_bytes()
    assert record["stdlib"]["train"] == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_it_has_all_prose_of_the_standard_library_but_what_is_mini_e2es(corpus):
    folder, record = corpus
    for split in ("train", "valid", "test"):
        ours = "".join(corpus_texts(folder, "stdlib", split)).splitlines()
        theirs = "".join(load_corpus("prose").texts(split)).splitlines()
        assert ours == [paragraph for paragraph in theirs if not mini_e2e_material(paragraph)]
        assert mini_e2e_material("\n".join(ours)) is None
    assert 0 <= record["stdlib"]["paragraphs_of_mini_e2e"] <= 5


def test_what_is_missing_or_has_changed_is_refused(corpus, tmp_path):
    with pytest.raises(ValueError, match="must be a folder; the Debian package none-doc brings it"):
        make_corpus_folder(tmp_path / "none", [Source("none-doc", str(tmp_path / "nowhere"), "none")])
    assert not (tmp_path / "none").exists()
    folder, _ = corpus
    before = sorted(path.name for path in folder.parent.iterdir())
    with pytest.raises(OSError):
        make_corpus_folder(folder, [])
    assert sorted(path.name for path in folder.parent.iterdir()) == before  # nothing half-written
    path = folder / "a-doc.train.txt"
    kept = path.read_bytes()
    path.write_bytes(kept + b"More.\n\0")
    with pytest.raises(ValueError, match=r"a-doc\.train\.txt must have the SHA-256 that corpus\.json gives"):
        corpus_record(folder)
    path.write_bytes(kept)
