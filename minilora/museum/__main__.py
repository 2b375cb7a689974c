"""``python -m minilora.museum --out figures/museum``: do the runs that are missing, and draw what came of them."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from minilora.files import write_atomically
from minilora.museum.measure import measure
from minilora.museum.page import draw, page


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
    parser.add_argument("--page", metavar="FILE", help="where to write the page, such as docs/museum.md")
    options = parser.parse_args(arguments)
    folder = Path(options.out)
    results = measure(folder, options.names, command=f"python -m minilora.museum --out {options.out}")
    print(f"in {folder}: museum.json")
    draw(results, folder)
    print(f"in {folder}: a figure for each room")
    if options.page:
        write_atomically(Path(options.page), page(results, figures=seen_from(Path(options.page), folder)))
        print(options.page)
    return 0


def seen_from(page: Path, folder: Path) -> str:
    """The path to a folder from where the page is."""
    return Path(os.path.relpath(folder, page.parent)).as_posix()


if __name__ == "__main__":
    raise SystemExit(main())
