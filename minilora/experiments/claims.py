"""What a claim is: a sentence with its source, what is compared, and how its verdict is printed and counted."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from minilora.experiments.verdicts import FAILS, FEWEST, HOLDS, UNDECIDED, VERDICTS, Question, holm, judge

PAPER, LATER, OWN = "the LoRA paper's", "later papers'", "our own"
WHOSE = (PAPER, LATER, OWN)
NOT_RUN = "not run on this base yet"
WITHOUT_REGRET = "Schulman and Thinking Machines (2025), LoRA Without Regret, https://thinkingmachines.ai/blog/lora/"


class Source(NamedTuple):
    """Who says it: one of WHOSE; where; and the sentence, which hypotheses of our own do not have."""

    whose: str
    where: str = ""
    quote: str = ""


def paper(where, quote):
    """A sentence of the LoRA paper (Hu et al., 2021; arXiv 2106.09685v2)."""
    return Source(PAPER, where, quote)


def later(where, quote=""):
    """What a later paper says."""
    return Source(LATER, where, quote)


def own(where=""):
    """A hypothesis of our own, and what suggested it."""
    return Source(OWN, where)


class Fact(NamedTuple):
    """The answer to a claim that can be counted or computed, so that there is no chance in it.

    Attributes
    ----------
    holds : bool
    seen : str
        The numbers.
    """

    holds: bool
    seen: str


class Claim(NamedTuple):
    """A sentence that an experiment puts to the test.

    Attributes
    ----------
    id : str
        Such as "table6.rank-1".
    text : str
        The sentence in our words, about these experiments.
    source : Source
    asks : Question or str
        What is asked of the differences; or for a claim without chance, what exactly must be so.
    compare : callable
        ``compare(results) -> list of Difference``, or a Fact; or why these results cannot tell, as text; None if they
        do not have what it needs.
    why : str
        The likely reason if the claim does not hold.
    note : str
        What has to be known to read the numbers.
    """

    id: str
    text: str
    source: Source
    asks: Question | str
    compare: Callable
    why: str = ""
    note: str = ""


def verdict(claim, results):
    """One of VERDICTS; undecided where there are no results (None), or none of what the claim needs."""
    seen = None if results is None else claim.compare(results)
    if seen is None or isinstance(seen, str):
        return UNDECIDED
    if isinstance(seen, Fact):
        return HOLDS if seen.holds else FAILS
    return judge(seen, claim.asks)


def was_run(claim, results):
    """Whether the results have what the claim needs."""
    return results is not None and claim.compare(results) is not None


def lines_of(claim, results, *, with_why=True):
    """A claim with its verdict, source and numbers, and if it does not hold, why; as lines of Markdown."""
    said, seen = verdict(claim, results), claim.compare(results)
    words = (in_words(claim.source), asked(claim.asks), claim.note, claim.why if said == FAILS and with_why else "")
    lines = [f"- **{said}**: {claim.text} (`{claim.id}`)", f"  {' '.join(filter(None, words))}"]
    if seen is None or isinstance(seen, str):
        return [*lines, f"  - {seen or NOT_RUN}"]
    if isinstance(seen, Fact):
        return [*lines, f"  - {seen.seen}"]
    corrected = holm([d.p(claim.asks) for d in seen])
    return [*lines, *(f"  - {numbers(d, claim.asks, q, len(seen))}" for d, q in zip(seen, corrected, strict=True))]


def in_words(source):
    """Who says it, and the sentence."""
    who = {PAPER: "The paper", LATER: "Later", OWN: "Our own"}[source.whose]
    where = f", {source.where}" if source.where else ""
    return f'{who}{where}: "{source.quote}".' if source.quote else f"{who}{where}."


def asked(asks):
    """What is asked, in words, with the margin and its reason."""
    if isinstance(asks, str):
        return f"Exact: {asks}."
    if asks.kind == "better":
        return "Asked: is the difference above 0?"
    size = f"{asks.margin:g}{asks.unit and ' ' + asks.unit}"
    within = f"within ± {size}" if asks.kind == "as good" else f"above -{size}"
    return f"Asked: is the difference {within}? Margin: {asks.why}."


def numbers(difference, question, corrected, m):
    """A difference with its interval, n, and p: as it is, and after Holm's correction for m of them."""
    unit = f" {question.unit}" if question.unit else ""
    if difference.n < FEWEST:
        return f"{difference.label}: {difference.mean:+.3g}{unit}, n = {difference.n}, too few for a verdict"
    low, high = difference.interval
    after = f"; after Holm, of {m}: {p_text(corrected)}" if m > 1 else ""
    interval = f"[{low:+.3g}, {high:+.3g}]"
    p = p_text(difference.p(question))
    return f"{difference.label}: {difference.mean:+.3g}{unit} {interval}, n = {difference.n}, {p}{after}"


def p_text(p):
    """A p value as text."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def count(judged):
    """How many claims of each kind have each verdict.

    Parameters
    ----------
    judged : sequence of (Claim, results)
        With None for the results of an experiment that was not run.

    Returns
    -------
    dict of str to dict of str to int
        By whose, then by verdict, and under NOT_RUN how many of the undecided ones were not run.
    """
    counts = {whose: Counter() for whose in WHOSE}
    for claim, results in judged:
        counts[claim.source.whose][verdict(claim, results)] += 1
        counts[claim.source.whose][NOT_RUN] += not was_run(claim, results)
    return {whose: {name: of[name] for name in (*VERDICTS, NOT_RUN)} for whose, of in counts.items()}
