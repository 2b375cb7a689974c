"""Somebody else's regular expressions: what Python's `re` says, in steps that no expression can exceed."""

import re
import time
import warnings

import numpy as np
import pytest

from minilora.patterns import LONGEST_PATTERN, MOST_STEPS, Matcher

NAME = "transformer.h.11.attn.c_attn"
NAMES = [f"transformer.h.{i}.{part}" for i in range(48) for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc")]


@pytest.mark.parametrize(
    "pattern",
    [
        r".*attn\.c_attn",
        r".*\.(c_attn|c_proj)$",
        r"^(?!.*mlp).*(c_attn|c_proj)$",
        r"transformer\.h\.(?=1)\d+\.attn\.c_attn",
        r"transformer\.h\.[0-5]\..*",
        r"transformer\.h\.\d{1,2}\.\w+\.c_.*?",
        r"(?:transformer|model)\.h\.(?P<layer>\d+)\.attn\.[^p]+",
        r".*\bc_attn\b",
        "",
    ],
)
def test_what_adapters_say_means_what_re_says(pattern):
    matcher = Matcher("file")
    for name in NAMES:
        assert matcher.fullmatch(pattern, name) == (re.fullmatch(pattern, name) is not None)
        assert matcher.match(pattern, name) == (re.match(pattern, name) is not None)
        assert matcher.match_end(pattern, name) == (re.match(rf"(.*\.)?({pattern})$", name) is not None)


@pytest.mark.parametrize(
    "name", ["c_attn", "attn.c_attn", "h.1.attn.c_attn", "h.1", "h.1.....c_attn", "_attn", NAME, "x" + NAME]
)
def test_a_plain_name_is_one_end(name):
    for text in NAMES:
        assert Matcher("file").match_end(name, text) == (re.match(rf"(.*\.)?({name})$", text) is not None)


def random_pattern(rng, depth):
    """A small expression over a, b and dots of every kind that is matched."""
    kind = rng.integers(0, 12 if depth else 4)
    inner = lambda: random_pattern(rng, depth - 1)  # noqa: E731
    if kind < 4:
        return str(
            rng.choice(
                ["a", "b", ".", r"\.", "[ab]", "[^a]", "[a-b.]", r"\w", r"\W", "^", "$", r"\b", r"\B", r"\Z", ""]
            )
        )
    if kind < 6:
        return f"{inner()}{inner()}"
    if kind < 8:
        return f"({inner()}|{inner()})"
    if kind < 11:
        return f"(?:{inner()}){rng.choice(['*', '?', '+', '*?', '{2}', '{1,3}', '{2,}'])}"
    return f"({rng.choice(['?=', '?!'])}{inner()})"


def test_random_expressions_match_what_re_matches():
    rng, texts, matched = np.random.default_rng(0), ["", "a", "b", ".", "ab", "a.b", "aab", "b.ba", "a\n", "abab"], 0
    for _ in range(1500):
        pattern = random_pattern(rng, 3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = re.compile(pattern)
        for text in texts[r"\B" in pattern :]:  # in an empty text, Pythons differ about \B
            expected = compiled.fullmatch(text) is not None
            assert Matcher("file").fullmatch(pattern, text) == expected, (pattern, text)
            assert Matcher("file").match(pattern, text) == (compiled.match(text) is not None), (pattern, text)
            matched += expected
    assert 1000 < matched < 10_000  # neither all nor none


HOSTILE = [
    ".?" * 40 + "x",
    "(|.)" * 40 + "!",
    "[a-z.]?" * 40 + "!",
    "(t|tr|.|..)*" * 20 + "!",
    "((((a*)*)*)*)*!",
    "(.*)*" * 50 + "!",
    "(((((.?){9}){9}){9}){9}){9}!",
    "((.?){50}){50}!" * 20,
    "(?=(.*a)*)" * 900,
    "(.|..|...)*" * 99 + "!",
    "(a|a)*" * 500 + "!",
    "(?:(?:(?:(?:(?:.?.?)*.?)*.?)*.?)*.?)*!",
    "[" + "a-z" * 3000 + "]?!",
    "(?!.*(.*(.*(.*!))))" * 200,
]


def used(pattern, names):
    """Seconds of processor time that one pattern takes of all names, matched or refused."""
    matcher, started = Matcher("file"), time.process_time()
    try:
        for name in names:
            matcher.match_end(pattern, name)
            matcher.fullmatch(pattern, name)
    except ValueError as error:
        assert str(error).startswith("file: the regular expression ") and len(str(error)) < 400
    return time.process_time() - started


@pytest.mark.parametrize("pattern", HOSTILE)
def test_no_expression_takes_long(pattern):
    assert used(pattern, NAMES * 4) < 2


def hostile_pattern(rng, depth):
    """Repeats in repeats, of what fits everywhere in many ways."""
    parts = [
        str(rng.choice([".", ".?", "(|.)", "[a-z.]?", "(t|tr|.|..)", ".*", r"\w", "(.|..)*", "(?=.*.)", "(?!.*!)"]))
    ]
    for _ in range(int(rng.integers(0, 4))):
        parts.append(hostile_pattern(rng, depth - 1) if depth else parts[0])
    repeat = str(rng.choice(["", "?", "*", "+", "{30}", "{2,40}", "{1000}", "*?"]))
    times = int(rng.choice([1, 1, 2, 10, 40]))
    return f"(?:{''.join(parts)}){repeat}"[:3000] * 1 if depth else f"(?:{''.join(parts)}){repeat}" * times


@pytest.mark.parametrize("n", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_a_search_finds_no_expression_that_takes_long(n):
    rng = np.random.default_rng(n)
    slowest = max((used(pattern, NAMES), pattern) for pattern in (hostile_pattern(rng, 4) + "!" for _ in range(n)))
    assert slowest[0] < 2, slowest[1]


def test_many_patterns_of_one_file_share_the_steps():
    matcher, started = Matcher("adapter_config.json: rank_pattern"), time.process_time()
    with pytest.raises(ValueError, match=f"rank_pattern: the regular .* at most {MOST_STEPS:,} steps in all"):
        for i in range(100_000):
            matcher.match_end(f"(a|b){i}", NAME)
    assert time.process_time() - started < 2


def test_patterns_that_name_each_layer_by_its_path_are_no_trouble():
    matcher, started = Matcher("file"), time.process_time()
    fits = [[matcher.match_end(key, name) for key in NAMES] for name in NAMES]
    assert np.array_equal(fits, np.eye(len(NAMES))) and time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(c_attn", "missing ), unterminated subpattern at position 0"),
        (r"(a)\1", "it has a backreference"),
        (r"(a)(?(1)b|c)", "it has a condition on a group"),
        ("(?i)C_ATTN", "it has flags"),
        ("x(?i:c)", "it has flags"),
        ("(?>a*)a", "it has an atomic group"),
        ("a*+", "it has a possessive repeat"),
        ("(?:b|(?<=a)b)*", "it looks backwards"),
        ("(" * 5000 + ")" * 5000, "it is nested too deeply"),
        ("a" * (LONGEST_PATTERN + 1), "it has 10,001 characters; it must have at most 10,000"),
        ("a{99999999999999999999}", "the repetition number is too large"),
    ],
)
def test_what_is_not_matched_is_refused_by_its_name(pattern, reason):
    for use in (Matcher("file: target_modules").check, lambda p: Matcher("file: target_modules").fullmatch(p, NAME)):
        with pytest.raises(ValueError, match="file: target_modules: the regular expression '.* is refused: ") as error:
            use(pattern)
        assert str(error.value).endswith(reason) and len(str(error.value)) < 300
