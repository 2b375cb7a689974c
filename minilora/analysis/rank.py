"""The rank of a matrix by elimination, one step at a time, in exact arithmetic.

    elimination = matrix_rank_steps([[1, 2], [2, 5], [2, 4]])
    print(elimination)                  # each step in words, and the matrix after it
    elimination.rank                    # 2, and the same for the transpose

The rank is the number of nonzero rows that are left when multiples of rows have been subtracted from the rows below
them until each begins further to the right than the one above (row echelon form). Why that is both the row rank and the
column rank:

* Subtracting a multiple of one row from another can be undone by adding it back, so the rows before and after span the
  same space. In echelon form the nonzero rows are independent, because each has a first entry, its pivot, in a
  column in which all rows below it have 0. So the number of independent rows is the number of pivots.
* The operation does to M what a matrix E that has an inverse does: M becomes E M. A relation between columns, M c = 0,
  holds before if and only if it holds after, E M c = 0. So the same columns are independent before and after, and in
  echelon form those of the pivots are: the number of independent columns is the number of pivots, too.

With fractions instead of floating-point numbers, zero is zero and nothing depends on a tolerance; see
`spectrum.numerical_rank` for what replaces it when numbers are rounded.
"""

from fractions import Fraction
from numbers import Rational
from typing import Any, NamedTuple

from minilora.arrays.backend import to_numpy


class Step(NamedTuple):
    """One row operation."""

    operation: str  # in words; rows are counted from 1
    matrix: tuple[tuple[Fraction, ...], ...]  # after it

    def __str__(self) -> str:
        entries = [[str(entry) for entry in row] for row in self.matrix]
        widths = [max(map(len, column)) for column in zip(*entries)]
        rows = ("  ".join(entry.rjust(width) for entry, width in zip(row, widths)) for row in entries)
        return "\n".join([self.operation, *(f"    [ {row} ]" for row in rows)])


class Elimination(NamedTuple):
    """A matrix on its way to echelon form."""

    steps: tuple[Step, ...]  # the first one is the matrix as it was given
    pivots: tuple[int, ...]  # the columns of the pivots, counted from 0

    @property
    def rank(self) -> int:
        """The number of independent rows, and of independent columns."""
        return len(self.pivots)

    def __str__(self) -> str:
        return "\n".join(map(str, self.steps))


def matrix_rank_steps(M: Any) -> Elimination:
    """Row rank by elimination.

    The pivot of a column is the first entry that is not zero, in a row that has no pivot yet: in exact arithmetic there
    is no reason to look for a large one.

    Parameters
    ----------
    M : sequence of rows, or ndarray of shape (m, n)
        Entries are integers, fractions, text such as "1/3" or "0.1", or floats that are whole numbers.

    Returns
    -------
    Elimination
        For the column rank, pass the transpose: its rank is the same.

    Raises
    ------
    ValueError
        If M is not a matrix, or an entry is not such a number. The float 0.1 is refused: it is not exactly one tenth.
    """
    rows = _exact(M)
    steps = [Step("the matrix", _frozen(rows))]
    pivots: list[int] = []
    for column in range(len(rows[0])):
        top = len(pivots)  # the first row without a pivot
        found = next((i for i in range(top, len(rows)) if rows[i][column] != 0), None)
        if found is None:
            continue
        if found != top:
            rows[top], rows[found] = rows[found], rows[top]
            steps.append(Step(f"swap row {top + 1} and row {found + 1}", _frozen(rows)))
        for i in range(top + 1, len(rows)):
            multiple = rows[i][column] / rows[top][column]
            if multiple != 0:
                rows[i] = [entry - multiple * above for entry, above in zip(rows[i], rows[top])]
                steps.append(Step(_in_words(i + 1, multiple, top + 1), _frozen(rows)))
        pivots.append(column)
    return Elimination(tuple(steps), tuple(pivots))


def _in_words(row: int, multiple: Fraction, pivot_row: int) -> str:
    sign = "minus" if multiple > 0 else "plus"
    times = "" if abs(multiple) == 1 else f"{abs(multiple)} times "
    return f"row {row} {sign} {times}row {pivot_row}"


def _frozen(rows: list[list[Fraction]]) -> tuple[tuple[Fraction, ...], ...]:
    return tuple(map(tuple, rows))


def _exact(M: Any) -> list[list[Fraction]]:
    """M as a list of rows of fractions."""
    if not isinstance(M, (list, tuple)):
        M = to_numpy(M).tolist()
    if not isinstance(M, (list, tuple)) or not all(isinstance(row, (list, tuple)) for row in M):
        raise ValueError(f"M was {M!r}; it must be a matrix, such as [[1, 2], [2, 5], [2, 4]]")
    lengths = {len(row) for row in M}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"M had rows of {sorted(lengths)} entries; each row must have the same number, at least 1")
    return [[_fraction(entry) for entry in row] for row in M]


def _fraction(entry: Any) -> Fraction:
    whole = isinstance(entry, float) and entry.is_integer()
    if isinstance(entry, (Rational, str)) or whole:
        try:
            return Fraction(entry)
        except (ValueError, ZeroDivisionError):
            pass  # not a number
    raise ValueError(f"M held {entry!r}; an entry must be an integer, a fraction, or text such as '1/3' or '0.1'")
