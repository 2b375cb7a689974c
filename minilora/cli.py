"""The command line: ``minilora VERB ...``."""

import os
import shlex
import sys

from minilora.arguments import parse
from minilora.distributed import ALONE, OtherRankFailed, join
from minilora.training import Stopped
from minilora.verbs import SHARED, VERBS


def main(argv=None):
    """Run ``minilora VERB ...``; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a model may write what the terminal's encoding cannot
    ranks, name = ALONE, "minilora"
    try:
        ranks = join(quiet=True)
        options = parse(arguments)
        name = f"minilora {options.verb}"
        launcher = ["mpiexec", "-n", str(ranks.size)] if ranks.size > 1 else []
        options.command, options.ranks = shlex.join([*launcher, "minilora", *arguments]), ranks
        if options.seed < 0:
            raise ValueError(f"--seed was {options.seed}; it may be an integer of at least 0")
        if ranks.size > 1 and options.verb not in SHARED:
            raise ValueError(f"{ranks.size} ranks were started, but only {', '.join(SHARED)} can be shared by several")
        status = VERBS[options.verb](options) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who reads our output, such as head, has seen enough; Python flushes once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as of a program that SIGPIPE has ended
    except OtherRankFailed as failed:
        return ranks.end(str(failed), 2)
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        return ranks.end(f"{name}: {str(error) or 'out of memory'}", 2)
    except Stopped as stopped:  # by all ranks, after the same step
        print(f"\n{name}: {stopped}; to continue:\n  {options.command}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        return ranks.end(f"\n{name}: stopped", 130)


if __name__ == "__main__":
    sys.exit(main())
