"""The command line: ``minilora VERB ...``. Each verb has a module: its options, what it does, what it prints."""
# PYTHON_ARGCOMPLETE_OK: what argcomplete's global completion looks for

import os
import re
import shlex
import sys
from collections.abc import Sequence

from minilora.cli.colours import painted
from minilora.cli.completion import ASKED, complete
from minilora.cli.parser import UsageError
from minilora.cli.printing import error_line, unless_quiet
from minilora.cli.streams import flush_output, usable_streams
from minilora.cli.verbs import SHARED, check_verb, in_words_of, overview, parse, run
from minilora.distributed import SINGLE_PROCESS, OtherRankFailed, join
from minilora.training import Stopped


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``minilora VERB ...``; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if ASKED in os.environ:
        complete()
    with usable_streams():
        try:
            return flush_output(_main(arguments))
        except SystemExit as ended:  # of argparse, after --help or --version
            if status := flush_output(0):
                return status
            raise ended


def _main(arguments: Sequence[str]) -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a model can write characters that the terminal's encoding lacks
    ranks, name = SINGLE_PROCESS, "minilora"
    try:
        ranks = join(quiet=True)
        if (text := overview(arguments)) is not None:
            print(text)
            return 0
        check_verb(arguments[0])
        name = f"minilora {arguments[0]}"
        options = parse(arguments)
        launcher = ["mpiexec", "-n", str(ranks.size)] if ranks.size > 1 else []
        options.command, options.ranks = shlex.join([*launcher, "minilora", *arguments]), ranks
        if ranks.size > 1 and options.verb not in SHARED:
            raise ValueError(f"{ranks.size} ranks were started, but only {', '.join(SHARED)} can be shared by several")
        with unless_quiet(options):
            return run(options)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        return 141  # like a program that SIGPIPE has ended
    except OtherRankFailed as failed:
        return ranks.end(str(failed), 2)
    except UsageError as error:
        return ranks.end(f"{error.usage}\n{in_red(name)}: {error_line(str(error))}", 2)
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        said = error_line(in_words_of(arguments, str(error) or "out of memory"))
        return ranks.end(f"{in_red(name)}: {said}", 2)
    except Stopped as stopped:  # by all ranks, after the same step
        print(f"\n{name}: {stopped}; to continue:\n  {options.command}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        return ranks.end(f"\n{name}: stopped", 130)


def in_red(name: str) -> str:
    """Who reports an error, in red on a terminal."""
    return painted(name, "red", sys.stderr)
