"""How a verb's options are parsed: which were typed, what is wrong with one, and what its --help shows."""

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence

NOT_TYPED = object()


class UsageError(ValueError):
    """A command line that cannot be parsed: an option is unknown, or missing. `usage` says which there are."""

    def __init__(self, usage: str, message: str):
        super().__init__(message)
        self.usage = usage


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows each option's default, if it has one; 0 counts as a default."""

    def _get_help_string(self, action):
        has_none = action.default is None or action.default is False
        return action.help if has_none else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """The options of one verb.

    Parameters
    ----------
    verb, summary, example : str
        What --help says: the verb, what it does in a line, and a command that can be typed.
    """

    def __init__(self, verb: str, summary: str, example: str):
        self.dests: list[str] = []
        self.flags: list[str] = []
        super().__init__(
            prog=f"minilora {verb}",
            description=summary,
            epilog=f"example:  {example}",
            formatter_class=Help,
            allow_abbrev=False,
        )

    def add_argument(self, *names, **settings):
        action = super().add_argument(*names, **settings)
        self.flags += action.option_strings
        if action.default is not argparse.SUPPRESS:
            self.dests.append(action.dest)
        return action

    def parse_args(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The options, and in `typed` the names of those that were typed, whatever their values.

        Raises
        ------
        ValueError
            Naming the option, what it was, and what it must be. A `UsageError` if an option is unknown
            or missing.
        """
        options = super().parse_args(arguments, argparse.Namespace(**dict.fromkeys(self.dests, NOT_TYPED)))
        values = {dest: getattr(options, dest) for dest in self.dests}
        typed = {dest for dest, value in values.items() if value is not NOT_TYPED and value not in (None, [])}
        for dest, value in values.items():
            if value is NOT_TYPED:
                setattr(options, dest, self.get_default(dest))
        options.typed = frozenset(typed)
        return options

    def error(self, message: str):
        if wrong := re.fullmatch(r"argument (\S+): (was .*)", message, re.DOTALL):  # by a type of `options.py`
            raise ValueError(f"{wrong[1]} {wrong[2]}")
        if message.startswith("unrecognized arguments: "):
            words = [word.split("=")[0] for word in message.split() if word.startswith("-")]
            message += did_you_mean(words[0], self.flags) if words else ""
        raise UsageError(self.format_usage().rstrip(), message)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the most similar known one, if there is any."""
    similar = difflib.get_close_matches(word[:100], list(known), n=1)
    return f"; did you mean {similar[0]}?" if similar else ""
