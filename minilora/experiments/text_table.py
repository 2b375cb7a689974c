"""A table as text."""


def aligned(rows):
    """A table as lines of text: the first row is its head; the first column is left-aligned, the others right-aligned.

    Parameters
    ----------
    rows : list of tuple of str

    Returns
    -------
    lines : list of str
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return [lines[0], rule, *lines[1:]]
