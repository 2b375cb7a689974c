"""The scores are those that are computed by hand; without the packages the message says how to get them."""

import math
import sys

import pytest

from minilora.experiments.text_scores import mini_e2e_scores, need_text_scores, text_scores


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(RuntimeError, match=r"need .*nltk: pip install 'minilora\[metrics\]'"):
        need_text_scores()


@pytest.fixture
def packages():
    for package in ("sacrebleu", "nltk"):
        pytest.importorskip(package, reason="the extra minilora[metrics] is not installed")


def test_bleu_is_the_geometric_mean_of_the_precisions(packages):
    scores = text_scores(["a b c d e"], [["a b c d f", "x b c d e"]])
    # all 5 words, all 4 pairs, 2 of 2 ... "a b c", "b c d", "c d e"; "a b c d", "b c d e": each is in a reference
    assert scores["bleu"] == pytest.approx(100.0)
    one = text_scores(["a b c d e"], [["a b c d f"]])
    assert one["bleu"] == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4))


def test_a_short_answer_is_punished(packages):
    short = text_scores(["a b c d"], [["a b c d e f g h"]])
    assert short["bleu"] == pytest.approx(100 * math.exp(1 - 8 / 4))


def test_nist_counts_rare_words_for_more(packages):
    """Information log2(count of the first n - 1 words / count of all n): of 5 different words, log2 5 each, then 0."""
    assert text_scores(["a b c d e"], [["a b c d e"]])["nist"] == pytest.approx(math.log2(5))


def test_meteor_matches_words_and_stems_and_counts_the_chunks(packages):
    """With P = 2/2 and R = 2/3, 10 P R / (R + 9 P) times 1 - 0.5 (chunks / matches)^3 (Banerjee and Lavie, 2005)."""
    mean = 10 * 2 / 3 / (2 / 3 + 9)
    assert text_scores(["cat sit"], [["the cat sits"]])["meteor"] == pytest.approx(mean * (1 - 0.5 * (1 / 2) ** 3))
    assert text_scores(["sit cat"], [["the cat sits", "dogs"]])["meteor"] == pytest.approx(mean * (1 - 0.5))
    assert text_scores(["kitty"], [["cat"]])["meteor"] == 0, "a synonym is another word"


def test_answers_without_words_score_nothing(packages):
    scores = text_scores(["", "zz"], [["a b c d e"], ["a b c d e"]])
    assert scores == pytest.approx(dict.fromkeys(("bleu", "nist", "meteor", "chrf"), 0))


def test_a_sentence_of_the_grammar_scores_high(packages):
    from minilora.data import examples, parse_source, references

    sources = [example.source for example in examples("test", 5)]
    right = [{"prompt": s + "\n", "answer": references(parse_source(s), 1)[0]} for s in sources]
    wrong = [{"prompt": s + "\n", "answer": right[i - 1]["answer"]} for i, s in enumerate(sources)]
    assert mini_e2e_scores(right)["bleu"] == pytest.approx(100.0), "the first reference is among the eight"
    assert mini_e2e_scores(wrong)["bleu"] < 60
