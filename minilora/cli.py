"""The command line: ``minilora VERB ...``."""

import shlex
import sys

from minilora.arguments import parse
from minilora.training import Stopped
from minilora.verbs import VERBS


def main(argv=None):
    """Run ``minilora VERB ...``; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a model may write what the terminal's encoding cannot
    options = parse(arguments)
    options.command = shlex.join(["minilora", *arguments])
    try:
        if options.seed < 0:
            raise ValueError(f"--seed was {options.seed}; it may be an integer of at least 0")
        status = VERBS[options.verb](options)
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        print(f"minilora {options.verb}: {str(error) or 'out of memory'}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"\nminilora {options.verb}: {stopped}; to continue:\n  {options.command}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print(f"\nminilora {options.verb}: stopped", file=sys.stderr)
        return 130
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
