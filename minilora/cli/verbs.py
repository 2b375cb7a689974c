"""The verbs, a one-line description of each, how a command finds its verb, and the overview of them all."""

import argparse
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import minilora
from minilora.cli.colours import painted
from minilora.cli.parser import Parser, UsageError, did_you_mean
from minilora.cli.printing import typed, wrapped

VERBS = {
    "demo": "Adapt a decoder with LoRA and in full, and compare.",
    "pretrain": "Pretrain a byte-level decoder or encoder, or resume a run.",
    "finetune": "Adapt a model to a task, and keep the adapter in a run folder.",
    "evaluate": "Measure a model on a task.",
    "generate": "Continue a text.",
    "chat": "Talk to a model, with and without its adapter.",
    "merge": "Merge an adapter into its base: one model, no added latency.",
    "import-peft": "Turn a LoRA adapter that PEFT saved into one of minilora's.",
    "export-peft": "Write an adapter as a folder that PEFT loads.",
    "export-gguf": "Write an adapter, or a merged model, as a file for llama.cpp.",
    "report": "Write a page about an adapter: what it changed, next to chance.",
    "info": "Say what a model's or an adapter's file or folder is.",
    "count": "Count a method's parameters, bytes and operations.",
    "rank": "Show the rank of a matrix, step by step, or of a model's layers.",
    "subspace": "Show whether two adapters, or one and W, use the same directions.",
    "reproduce": "Make small versions of the paper's tables and figures, or resume.",
    "bench": "Measure speed and memory here, alone or against PyTorch.",
    "exercises": "Write a function, and learn which mistake is in it.",
    "course": "Write a class's repository, which checks answers on each push.",
}
SHARED = ("pretrain", "finetune", "reproduce")  # the verbs whose work several ranks can share
USAGE = "usage: minilora VERB ..."


def module_of(verb: str) -> ModuleType:
    """A verb's module: EXAMPLE, `add_options(parser)`, `run(options)`; ARGUMENTS, if Python's names differ."""
    return import_module(f"minilora.cli.{verb.replace('-', '_')}")


def parser_of(verb: str) -> Parser:
    """The parser of a verb's options."""
    module = module_of(verb)
    parser = Parser(verb, VERBS[verb], module.EXAMPLE)
    module.add_options(parser)
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command: those of its verb, and `verb`. See `Parser.parse_args`."""
    verb, *others = arguments
    options = parser_of(verb).parse_args(others)
    options.verb = verb
    return options


def run(options: argparse.Namespace) -> int:
    """Run a command; return its exit status."""
    return module_of(options.verb).run(options)


def check_verb(verb: str) -> None:
    """Raise a UsageError if there is no such verb."""
    if verb not in VERBS:
        known = did_you_mean(verb, VERBS) or f"; there are {', '.join(VERBS)}"
        raise UsageError(USAGE, f"there is no verb {typed(verb)}{known}")


def overview(arguments: Sequence[str]) -> str | None:
    """What to print if no verb is run: without arguments, for help, and for --version; None for a verb."""
    match list(arguments):
        case ["--version"]:
            return f"minilora {minilora.__version__}"
        case ["help", verb]:
            check_verb(verb)
            return parser_of(verb).format_help().rstrip()
        case [] | ["help"] | ["-h"] | ["--help"]:
            lines = [USAGE, "", *wrapped(minilora.__doc__, "", ""), ""]
            lines += (f"  {painted(f'{verb:<13}', 'bold', sys.stdout)}{summary}" for verb, summary in VERBS.items())
            return "\n".join([*lines, "", "minilora help VERB: its options.  minilora --version: the version."])
    return None


def in_words_of(arguments: Sequence[str], message: str) -> str:
    """An error of the Python functions below in the words of the command line: "--top-k was 0" for "top_k was 0"."""
    named = re.match(r"(\w+) (?=was |held |named )", message)
    if named is None or not arguments or arguments[0] not in VERBS:
        return message
    called = getattr(module_of(arguments[0]), "ARGUMENTS", {})
    option = called.get(named[1], "--" + named[1].replace("_", "-"))
    return option + message[named.end(1) :] if option in parser_of(arguments[0]).flags else message
