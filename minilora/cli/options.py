"""Options that several verbs share: their types, with bounds, and who uses them."""

import argparse
import math
import re
from collections.abc import Callable, Collection, Mapping

from minilora.cli.completion import from_words
from minilora.cli.parser import Parser, did_you_mean
from minilora.cli.printing import typed

MOST = 1_000_000_000  # of anything that is counted, if nothing else bounds it
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
DEVICES = ("auto", "cpu", "gpu")
LAYERS_HELP = "comma-separated: whole paths, or their ends, such as q_proj (default: all)"
MODEL_HELP = (
    "decoder or encoder, which come with minilora; smollm2, if its package is installed; a Hugging Face folder; a "
    ".gguf file; or a file or run folder of minilora's"
)
MODELS = ("decoder", "encoder", "smollm2")
TEXT_TASKS = ("mini-e2e", "pairs", "prose", "code")
CLASS_TASKS = ("unicode-names", "unicode-names-by-word", "docstring-pairs", "function-packages")
TASKS = (*TEXT_TASKS, *CLASS_TASKS)
TASK_HELP = (
    f"text tasks: {', '.join(TEXT_TASKS)}, a .txt file, a .csv or .jsonl file with source and target, or a .jsonl "
    "file of conversations with messages, with prompt and completion, or with text; "
    f"classification tasks: {', '.join(CLASS_TASKS)}, or a file with "
    "text, label and, for pairs of texts, second"
)


def integer(low: int, high: int) -> Callable[[str], int]:
    """The type of an option that takes an integer from `low` to `high`."""

    def parse(text: str) -> int:
        if re.fullmatch(r"[+-]?[0-9]{1,30}", text) and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(f"was {typed(text)}; it must be an integer from {low:,} to {high:,}")

    return parse


def number(low: float, high: float, *, above: bool = False, below: bool = False) -> Callable[[str], float]:
    """The type of an option that takes a number from `low` to `high`.

    Parameters
    ----------
    low, high : float
    above, below : bool
        Whether `low`, or `high`, is itself excluded.
    """

    def parse(text: str) -> float:
        value = float(text) if len(text) <= 60 and DECIMAL.fullmatch(text) else math.nan
        if low <= value <= high and not (above and value == low) and not (below and value == high):
            return value
        start = f"above {low:,}," if above else f"from {low:,}{',' if below else ''}"
        end = f"below {high:,}" if below else f"to {high:,}"
        raise argparse.ArgumentTypeError(f"was {typed(text)}; it must be a number {start} {end}")

    return parse


def one_of(known: Collection[str]) -> Callable[[str], str]:
    """The type of an option that takes one of several words."""

    def parse(text: str) -> str:
        if text in known:
            return text
        similar = did_you_mean(text, known)
        raise argparse.ArgumentTypeError(f"was {typed(text)}; it must be one of {', '.join(known)}{similar}")

    return parse


def add_choice(p: Parser, name: str, known: Collection[str], *, default: str | None, help: str) -> None:
    """Give a parser an option that takes one of several words."""
    action = p.add_argument(name, type=one_of(known), metavar="{" + ",".join(known) + "}", default=default, help=help)
    action.completer = from_words(known)


def add_model(p: Parser, default: str = "the decoder, or for classes the encoder") -> None:
    """Give a parser --model."""
    action = p.add_argument("--model", metavar="MODEL", help=f"{MODEL_HELP} (default: {default})")
    action.completer = from_words(MODELS, files=True)


def add_bits(p: Parser, note: str = "") -> None:
    """Give a parser --bits."""
    add_choice(
        p,
        "--bits",
        ("4", "8"),
        default=None,
        help="keep the matrices of the blocks in 4 bits (NF4) or 8 (Q8_0), or as a .gguf file has them in its blocks; "
        f"the embedding and the head stay as they are{note} (default: float32)",
    )


def add_adapter(p: Parser) -> None:
    """Give a parser --adapter."""
    p.add_argument(
        "--adapter",
        metavar="FILE",
        help="an adapter for the model: a file of minilora's, its run folder, or a .gguf file",
    )


def add_task(p: Parser) -> None:
    """Give a parser --task and --text."""
    p.add_argument("--task", default="mini-e2e", help=TASK_HELP).completer = from_words(TASKS, files=True)
    p.add_argument("--text", metavar="FILE", help="running text in UTF-8 instead, any file")


def add_device(p: Parser) -> None:
    """Give a parser --device."""
    add_choice(p, "--device", DEVICES, default="auto", help="device (auto: GPU if available)")


def add_seed(p: Parser, what: str = "random seed") -> None:
    """Give a parser --seed."""
    p.add_argument("--seed", type=integer(0, 2**32 - 1), metavar="N", default=0, help=what)


def add_sampling(p: Parser) -> None:
    """Give a parser the options that say how the next token is drawn; see `refuse_unused_draws`."""
    p.add_argument(
        "--temperature",
        type=number(0, 1000),
        metavar="NUMBER",
        default=0.0,
        help="0: always the likeliest token; 1: the model's own probabilities",
    )
    p.add_argument("--top-k", type=integer(1, 1_000_000), metavar="K", help="draw from the K likeliest tokens")
    p.add_argument(
        "--top-p",
        type=number(0, 1, above=True),
        metavar="P",
        help="draw from the likeliest tokens that have probability P together",
    )
    add_seed(p, "for the tokens that are drawn")


def refuse_unused_draws(options: argparse.Namespace) -> None:
    """Raise a ValueError if nothing is drawn, and an option says how."""
    if options.temperature == 0:
        refuse(options, ("top_k", "top_p", "seed"), "--temperature was 0, which draws nothing; it must be above 0")


def add_threads(p: Parser, what: str) -> None:
    """Give a parser --threads."""
    p.add_argument("--threads", type=integer(1, 1024), metavar="N", help=f"{what} (default: one for each core)")


def add_json(p: Parser) -> None:
    """Give a parser --json and --quiet."""
    p.add_argument("--json", action="store_true", help="print the results as JSON, and nothing else")
    p.add_argument("--quiet", action="store_true", help="no progress and no remarks: results and errors only")


def flag(dest: str) -> str:
    """An option as it is typed."""
    return "--" + dest.replace("_", "-")


def refuse(options: argparse.Namespace, dests: Collection[str], reason: str) -> None:
    """Raise a ValueError if one of these options was typed; the reason says what does not use it, and what does."""
    for dest in dests:
        if dest in options.typed:
            raise ValueError(f"{flag(dest)} was given, but {reason}")


def refuse_unused(options: argparse.Namespace, used_by: Mapping[str, Collection[str]], dest: str) -> None:
    """Raise a ValueError if an option was typed that what `dest` names does not use.

    Parameters
    ----------
    options : Namespace
        From a `Parser`.
    used_by : dict of str to collection of str
        By option: the values of `dest` that use it. Options that are not listed are always used.
    dest : str
        Such as "method".
    """
    value = getattr(options, dest)
    for unused, users in used_by.items():
        if value not in users:
            reason = f"{flag(dest)} {value} does not use it; it is for {flag(dest)} {', '.join(users)}"
            refuse(options, [unused], reason)


def names_in(text: str) -> tuple[str, ...]:
    """The names in a comma-separated list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
