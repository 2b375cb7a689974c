from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora.analysis import matrix_rank_steps, numerical_rank

EXAMPLE = [[1, 2], [2, 5], [2, 4]]
repeatable = settings(deadline=None, derandomize=True)  # a busy machine is no failure

small_matrices = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(-3, 3), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)


def transpose(M):
    return [list(column) for column in zip(*M)]


def test_the_example_step_by_step():
    elimination = matrix_rank_steps(EXAMPLE)
    assert [step.operation for step in elimination.steps] == [
        "the matrix",
        "row 2 minus 2 times row 1",
        "row 3 minus 2 times row 1",
    ]
    assert [step.matrix for step in elimination.steps] == [
        ((1, 2), (2, 5), (2, 4)),
        ((1, 2), (0, 1), (2, 4)),
        ((1, 2), (0, 1), (0, 0)),
    ]
    assert elimination.rank == 2 and elimination.pivots == (0, 1)


def test_the_example_s_transpose_has_the_same_rank():
    elimination = matrix_rank_steps(transpose(EXAMPLE))
    assert elimination.steps[-1].matrix == ((1, 2, 2), (0, 1, 0))
    assert elimination.rank == 2


def test_rows_are_swapped_and_columns_passed_over_where_there_is_no_pivot():
    elimination = matrix_rank_steps([[0, 0, 2], [0, 3, 1], [0, -6, 5]])
    assert [step.operation for step in elimination.steps[1:]] == [
        "swap row 1 and row 2",
        "row 3 plus 2 times row 1",
        "row 3 minus 7/2 times row 2",
    ]
    assert elimination.steps[-1].matrix == ((0, 3, 1), (0, 0, 2), (0, 0, 0))
    assert elimination.pivots == (1, 2)


def test_a_step_is_printed_with_its_columns_aligned():
    text = str(matrix_rank_steps([[2, 10], [1, -5], [0, "1/3"]]))
    assert text.startswith("the matrix\n    [ 2   10 ]\n    [ 1   -5 ]\n    [ 0  1/3 ]\nrow 2 minus 1/2 times row 1\n")
    assert str(matrix_rank_steps([[1], [1]]).steps[1]) == "row 2 minus row 1\n    [ 1 ]\n    [ 0 ]"


@repeatable
@given(small_matrices)
def test_row_rank_is_column_rank_is_numpy_s(M):
    rank = matrix_rank_steps(M).rank
    assert rank == matrix_rank_steps(transpose(M)).rank == np.linalg.matrix_rank(np.array(M)) == numerical_rank(M)


@repeatable
@given(small_matrices)
def test_every_step_does_what_it_says_and_the_end_is_in_echelon_form(M):
    elimination = matrix_rank_steps(M)
    rows = [[Fraction(entry) for entry in row] for row in M]
    assert elimination.steps[0].matrix == tuple(map(tuple, rows))
    for step in elimination.steps[1:]:
        words = step.operation.replace("minus row", "minus 1 times row").replace("plus row", "plus 1 times row").split()
        if words[0] == "swap":
            i, j = int(words[2]) - 1, int(words[5]) - 1
            rows[i], rows[j] = rows[j], rows[i]
        else:
            i, sign, multiple, j = int(words[1]) - 1, words[2], Fraction(words[3]), int(words[6]) - 1
            signed = multiple if sign == "plus" else -multiple
            rows[i] = [entry + signed * above for entry, above in zip(rows[i], rows[j])]
        assert step.matrix == tuple(map(tuple, rows))
    begins = [next((k for k, entry in enumerate(row) if entry), None) for row in rows]
    assert tuple(begins[: elimination.rank]) == elimination.pivots == tuple(sorted(set(elimination.pivots)))
    assert set(begins[elimination.rank :]) <= {None}


def test_fractions_leave_no_rounding():
    """In floating point 0.1 * 3 is not 0.3, and the rank of this matrix would hang on a tolerance."""
    assert matrix_rank_steps([["0.1", "0.3"], ["1/3", 1]]).rank == 1
    assert matrix_rank_steps([["0.1", "0.3"], ["1/3", Fraction(10**30 + 1, 10**30)]]).rank == 2


def test_the_hilbert_matrix_whose_numerical_rank_is_too_small():
    n = 14
    hilbert = [[Fraction(1, i + j + 1) for j in range(n)] for i in range(n)]
    assert matrix_rank_steps(hilbert).rank == n
    assert numerical_rank(np.array(hilbert, dtype=np.float64)) < n


@pytest.mark.parametrize("M", [np.array(EXAMPLE), np.array(EXAMPLE, np.float32), tuple(map(tuple, EXAMPLE))])
def test_arrays_and_whole_floats_are_exact_too(M):
    assert matrix_rank_steps(M).steps[-1].matrix == ((1, 2), (0, 1), (0, 0))


def test_nothing_passed_in_is_changed():
    M = [[0, 1], [2, 3]]
    matrix_rank_steps(M)
    assert M == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("M", "message"),
    [
        ([[1, 2], [3]], r"M had rows of \[1, 2\] entries"),
        ([], "each row must have the same number, at least 1"),
        ([[], []], r"M had rows of \[0\] entries"),
        ([1, 2], r"M was \[1, 2\]; it must be a matrix, such as"),
        (np.float64(3), "M was 3.0; it must be a matrix"),
        ([[0.1]], "M held 0.1; an entry must be an integer, a fraction, or text such as '1/3'"),
        ([["one"]], "M held 'one'"),
        ([["1/0"]], "M held '1/0'"),
        (np.array([[np.nan, 1]]), "M held nan"),
        ([[float("inf")]], "M held inf"),
        ([[1j]], "M held 1j"),
        (np.ones((1, 1, 1)), r"M held \[1.0\]"),
    ],
)
def test_what_is_no_matrix_of_rational_numbers_is_refused(M, message):
    with pytest.raises(ValueError, match=message):
        matrix_rank_steps(M)
