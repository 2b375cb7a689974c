"""``python -m minilora.museum --out figures/museum``: do the runs that are missing, and draw what came of them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from minilora.museum.measure import measure


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the exhibits, and write results, figures and page.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line, if not given.
    """
    parser = argparse.ArgumentParser(prog="python -m minilora.museum", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="EXHIBIT", help="which ones (default: all)")
    parser.add_argument("--out", default="figures/museum", metavar="DIR", help="for the results and the figures")
    options = parser.parse_args(arguments)
    folder = Path(options.out)
    measure(folder, options.names, command=f"python -m minilora.museum --out {options.out}")
    print(f"in {folder}: museum.json")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
