"""`minilora chat`: talk to a model, and compare it with and without its adapter."""

import argparse
import contextlib
import sys
from collections.abc import Iterator

import numpy

from minilora.cli.conversation import Chat
from minilora.cli.opening import open_decoder
from minilora.cli.options import (
    add_adapter,
    add_bits,
    add_device,
    add_model,
    add_sampling,
    integer,
    refuse_unused_draws,
)
from minilora.cli.parser import Parser
from minilora.cli.printing import error_line, print_lines
from minilora.models.sampling import Sampling

EXAMPLE = "minilora chat --model smollm2 --adapter runs/my-adapter"
COMMANDS = {
    "/adapter on|off": "answer with the adapter, or as the base does",
    "/load FILE": "load another adapter",
    "/temperature NUMBER": "0: the likeliest token; 1: as the model draws",
    "/system TEXT": "begin again, with this instruction, or without one",
    "/reset": "forget what was said",
    "/help": "show this list",
    "/quit": "end; so does the end of the input",
}


def add_options(p: Parser) -> None:
    """Whom to talk to, and how tokens are drawn."""
    add_model(p, "the decoder")
    add_adapter(p)
    add_bits(p)
    p.add_argument("--system", metavar="TEXT", help="an instruction that stands before the conversation")
    p.add_argument(
        "--max-tokens", type=integer(1, 1_000_000), metavar="N", default=512, help="the most tokens of an answer"
    )
    add_device(p)
    add_sampling(p)


def run(options: argparse.Namespace) -> int:
    """Read a line, answer it, and so on until the input ends."""
    refuse_unused_draws(options)
    opened = open_decoder(options.model, options.adapter, device=options.device, bits=options.bits)
    chat = Chat(
        opened,
        options.adapter,
        system=options.system,
        max_tokens=options.max_tokens,
        sampling=Sampling(options.temperature, options.top_k, options.top_p),
        rng=numpy.random.default_rng(options.seed),
    )
    if sys.stdin.isatty():
        print(f"{chat.who()}; /help shows the commands", file=sys.stderr)
    for line in lines_typed():
        word, _, rest = line.strip().partition(" ")
        if word == "/quit":
            break
        if word == "/help":
            print_lines(f"{command:<21}{meaning}" for command, meaning in COMMANDS.items())
        elif word.startswith("/"):
            reply(chat, word, rest.strip())
        elif line.strip():
            say(chat, line.strip())
    return 0


def reply(chat: Chat, word: str, rest: str) -> None:
    """Follow a command, and say on standard error what has changed, or what is wrong with it."""
    try:
        said = chat.command(word, rest)
    except (ValueError, RuntimeError, OSError) as error:
        said = str(error)
    print(error_line(said), file=sys.stderr)


def say(chat: Chat, text: str) -> None:
    """Print the answer while it is written; Ctrl-C ends it early."""
    pieces = chat.answer(text)
    try:
        for piece in pieces:
            print(piece, end="", flush=True)
        print(flush=True)
    except KeyboardInterrupt:
        print(flush=True)
        print("(stopped)", file=sys.stderr)
    except ValueError as error:
        print(error_line(str(error)), file=sys.stderr)
    finally:
        pieces.close()
    if chat.notice:
        print(error_line(chat.notice), file=sys.stderr)


def lines_typed() -> Iterator[str]:
    """The lines of the input: on a terminal, each after a prompt, with a history; Ctrl-C twice ends them."""
    on_terminal, interrupted = sys.stdin.isatty(), False
    if on_terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # from now on, input() can edit lines and recall them
    while True:
        try:
            line = input("> " if on_terminal else "")
        except EOFError:
            if on_terminal:
                print()
            return
        except UnicodeDecodeError as error:
            raise ValueError(f"the input is not in {error.encoding}: {error.reason} at byte {error.start}") from None
        except KeyboardInterrupt:
            if interrupted or not on_terminal:
                raise
            interrupted = True
            print("\n(once more, or /quit, to end)", file=sys.stderr)
            continue
        interrupted = False
        yield line
