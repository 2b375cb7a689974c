"""Completion in a shell, by argcomplete, where it is installed: `pip install "minilora[completion]"`.

The shell calls minilora with _ARGCOMPLETE set, and reads which words can follow. Without that variable nothing of this
is imported.
"""

import argparse
import os
from collections.abc import Callable, Iterable

ASKED = "_ARGCOMPLETE"  # set by the shell's function
LINE = "COMP_LINE"  # what was typed so far


def complete() -> None:
    """Answer the shell, and end; return if argcomplete is not installed."""
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser_for(os.environ.get(LINE, "").split()))


def parser_for(words: list[str]) -> argparse.ArgumentParser:
    """A parser of all verbs, which has the options of the one that was typed: the others need not be imported."""
    from minilora.cli.verbs import VERBS, parser_of

    parser = argparse.ArgumentParser(prog="minilora")
    parser.add_argument("--version", action="store_true", help="show the version")
    verbs = parser.add_subparsers()
    for verb, summary in VERBS.items():
        options = {"parents": [parser_of(verb)], "add_help": False} if verb in words[1:3] else {}
        verbs.add_parser(verb, help=summary, **options)
    helped = verbs.add_parser("help", help="Show a verb's options.")
    helped.add_argument("verb", choices=tuple(VERBS))
    return parser


def from_words(known: Iterable[str], *, files: bool = False) -> Callable[..., list[str]]:
    """What completes an option: one of these words; or, with `files`, a path as well."""

    def completer(prefix: str = "", **_) -> list[str]:
        found = [word for word in known if word.startswith(prefix)]
        if files:
            from argcomplete.completers import FilesCompleter

            found += FilesCompleter()(prefix)
        return found

    return completer


def from_list(known: Iterable[str]) -> Callable[..., list[str]]:
    """What completes an option that takes several of these words, with commas between them."""

    def completer(prefix: str = "", **_) -> list[str]:
        *chosen, last = prefix.split(",")
        return [",".join((*chosen, word)) for word in known if word.startswith(last) and word not in chosen]

    return completer
