"""Sentences against references: BLEU, NIST, METEOR and chrF, by the packages of the extra minilora[metrics]."""

from importlib.util import find_spec
from statistics import mean

from minilora.data import parse_source, references

LONGEST_NGRAM = 5  # of NIST, in words


class NoSynonyms:
    """A stand-in for WordNet, which would be a download of its own: METEOR then matches words and stems only."""

    def synsets(self, word):
        return []


def need_text_scores():
    """Raise RuntimeError if the packages are not installed; call it before hours of training."""
    missing = [package for package in ("sacrebleu", "nltk") if find_spec(package) is None]
    if missing:
        raise RuntimeError(f"BLEU and NIST need {' and '.join(missing)}: pip install 'minilora[metrics]'")


def text_scores(answers, references_of):
    """Scores of a corpus of sentences, each compared with several references.

    Parameters
    ----------
    answers : list of str
    references_of : list of list of str
        The same number for each answer.

    Returns
    -------
    dict
        bleu (Papineni et al., 2002), from 0 to 100; nist (Doddington, 2002), which weights rare words more, from 0;
        meteor (Banerjee and Lavie, 2005), from 0 to 1, the mean over the sentences, without synonyms; chrf (Popović,
        2015), of characters, from 0 to 100.
    """
    import sacrebleu
    from nltk.translate.meteor_score import meteor_score
    from nltk.translate.nist_score import corpus_nist
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    split = Tokenizer13a()  # "cheap, Thai" has three tokens, as in BLEU's own script
    tokens = [split(answer).split() for answer in answers]
    reference_tokens = [[split(reference).split() for reference in of_one] for of_one in references_of]
    streams = list(map(list, zip(*references_of, strict=True)))  # the first reference of each, the second, ...
    has_ngrams = any(len(words) >= LONGEST_NGRAM for words in tokens)  # without one, NLTK divides by zero
    meteors = [meteor_score(*pair, wordnet=NoSynonyms()) for pair in zip(reference_tokens, tokens, strict=True)]
    return {
        "bleu": sacrebleu.corpus_bleu(answers, streams).score,
        "nist": corpus_nist(reference_tokens, tokens) if has_ngrams else 0.0,
        "meteor": mean(meteors),
        "chrf": sacrebleu.corpus_chrf(answers, streams).score,
    }


def mini_e2e_scores(samples, n_references=8):
    """`text_scores` of mini-E2E's answers, against references that its grammar draws.

    Parameters
    ----------
    samples : list of dict
        With prompt and answer, see `measure`.
    n_references : int
        For each prompt.
    """
    asked = [parse_source(sample["prompt"].strip()) for sample in samples]
    return text_scores([sample["answer"] for sample in samples], [references(mr, n_references) for mr in asked])
