"""Every number on the command line has bounds, which are checked before anything else: no hang, no traceback."""

import re
import shlex
import time

import pytest

from cli.running import check_refused
from minilora.cli import main
from minilora.cli.verbs import VERBS, module_of, parser_of

HOSTILE = (
    "9" * 400,
    "-" + "9" * 400,
    str(10**26),
    "1e400",
    "1e999999999",
    "-1e400",
    "nan",
    "inf",
    "-inf",
    "-1",
    "",
    "many",
    "0x10",
    "1_0",
    "\u0663",  # 3, in Arabic
    "1" * 100_000,
    "\x1b]0;title\x07",
)
TEXTS = {  # the options that take no number, and are words, names or files
    "help",
    "text",
    "out",
    "runs",
    "device",
    "kind",
    "corpus",
    "model",
    "task",
    "method",
    "targets",
    "rslora",
    "dora_exact",
    "schedule",
    "adapter",
    "split",
    "json",
    "quiet",
    "requirement",
    "exercises",
    "feedforward",
    "tokens",
    "start_text",
    "short",
    "prompt",
    "source",
    "folder",
    "base",
    "architecture",
    "optimizer",
    "matrix",
    "tuned",
    "weights",
    "layers",
    "plot",
    "other",
    "of",
    "names",
    "quick",
    "executor",
    "parts",
    "shapes",
    "methods",
    "against",
    "peer_python",
    "action",
    "exercise",
    "notebook",
    "path",
    "merged",
    "dtype",
    "system",
    "recompute",
    "products",
    "bits",
    "from_results",
}


def is_number(action):
    """Whether an option takes a number: its type makes one of "1" or of "0.5"."""
    for text in ("1", "0.5"):
        try:
            return isinstance(action.type(text), (int, float))
        except Exception:
            continue
    return False


def numbers(verb):
    """The options of a verb that take a number."""
    return [a for a in parser_of(verb)._actions if a.type is not None and is_number(a)]


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_a_bounded_number_or_no_number(verb):
    others = {a.dest for a in parser_of(verb)._actions} - {a.dest for a in numbers(verb)}
    texts = TEXTS - {"layers"} if verb == "pretrain" else TEXTS
    assert others <= texts


NUMBERS = [(verb, action.option_strings[0]) for verb in VERBS for action in numbers(verb)]


@pytest.mark.parametrize(("verb", "option"), NUMBERS)
def test_a_hostile_number_is_refused_in_one_line_at_once(verb, option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, *arguments = shlex.split(module_of(verb).EXAMPLE)
    arguments = arguments[: arguments.index(option)] if option in arguments else arguments
    for number in HOSTILE:
        started = time.process_time()
        check_refused([*arguments, f"{option}={number}"], f"^minilora {verb}: {option} was ", tmp_path, capsys)
        assert time.process_time() - started < 1


@pytest.mark.parametrize(("verb", "option"), NUMBERS)
def test_the_message_says_from_where_to_where(verb, option, capsys):
    _, *arguments = shlex.split(module_of(verb).EXAMPLE)
    assert main([*arguments, f"{option}=many"]) == 2
    said = capsys.readouterr().err
    bound = r"-?[\d,.]+"
    assert re.fullmatch(
        rf"minilora {verb}: {option} was many; it must be (an integer|a number) "
        rf"(from {bound},?|above {bound},) (to|below) {bound}\n",
        said,
    ), said


def test_numbers_at_their_bounds_are_taken():
    parser = parser_of("finetune")
    for option, number, value in (
        ("--steps", "1000000000", 10**9),
        ("--steps", "+1", 1),
        ("--dropout", "0", 0.0),
        ("--lr", "1e-3", 1e-3),
        ("--seed", str(2**32 - 1), 2**32 - 1),
    ):
        assert getattr(parser.parse_args([option, number]), option[2:]) == value
    for option, number in (("--steps", "1000000001"), ("--dropout", "1"), ("--alpha", "0"), ("--seed", str(2**32))):
        with pytest.raises(ValueError, match=f"^{option} was {number}; "):
            parser.parse_args([option, number])


TOGETHER = {
    "accumulation beyond the batch": (
        ["finetune", "--accumulation", "9", "--batch-size", "8"],
        "--accumulation was 9; it must be from 1 to the batch size, 8$",
    ),
    "a model that no machine holds": (
        ["pretrain", "--layers", "1000", "--width", "16384"],
        "--layers and --width made 3,221,446,885,376 parameters; they must make at most 1,000,000,000$",
    ),
    "a prefix longer than the model": (
        ["count", "gpt2", "--method", "prefix-layer", "--before", "2000"],
        "--before and --after were 2,005 together; they must be below 1,024 for gpt2$",
    ),
    "a length beside the prefix": (
        ["count", "gpt2", "--method", "prefix-embedding", "--before", "100", "--length", "1024"],
        "--length was 1,024; it must be from 1 to 919 for gpt2, in addition to the 105 of the prefix$",
    ),
    "a length": (["count", "gpt2", "--length", "1025"], "--length was 1,025; it must be from 1 to 1,024 for gpt2$"),
    "an exponent": (["rank", "1e999999999"], "the matrix held 1e999999999; each entry must be a number such as"),
    "an overflow": (["rank", "1e400"], "the matrix held 1e400; "),
    "many digits": (["rank", "1," + "7" * 400], r"the matrix held '777+\.\.\.7+'; "),
    "a fraction of many digits": (["rank", "1/" + "7" * 400], r"the matrix held '1/77+\.\.\.7+'; "),
    "a division by 0": (["rank", "1/0"], "the matrix held '1/0'; "),
    "many rows": (["rank", ";".join("1" * 13)], "the matrix had 13 rows of up to 1 entries; it must have at most 12 "),
    "many columns": (["rank", ",".join("1" * 13)], "the matrix had 1 rows of up to 13 entries; "),
    "a long matrix": (["rank", "1," * 10_000], "the matrix had 20,000 characters; it must have at most 10,000"),
}


@pytest.mark.parametrize(("arguments", "message"), TOGETHER.values(), ids=TOGETHER.keys())
def test_numbers_that_do_not_go_together(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    started = time.process_time()
    check_refused(arguments, message, tmp_path, capsys)
    assert time.process_time() - started < 1


def test_the_largest_matrix_takes_no_time(capsys):
    digits = [f"{3**25 - 7 * i * i - j}/{5**17 + 11 * i * j}" for i in range(12) for j in range(12)]
    started = time.process_time()
    assert main(["rank", ";".join(",".join(digits[12 * i : 12 * i + 12]) for i in range(12))]) == 0
    assert time.process_time() - started < 2
    assert "row rank 12" in capsys.readouterr().out


def test_the_largest_counts_take_no_time(capsys):
    most = ["--batch-size", "1000000000", "--length", "1000000000"]
    started = time.process_time()
    assert main(["count", "deberta-v2-xxlarge", *most]) == 0 and main(["count", "deberta-v2-xxlarge", "--json"]) == 0
    assert time.process_time() - started < 1
