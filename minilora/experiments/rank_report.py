"""What `minilora rank` and `minilora subspace` print."""

import numpy

from minilora.analysis import matrix_rank_steps, numerical_rank, shape_of, singular_values
from minilora.experiments.text_table import aligned


def elimination_report(M):
    """Row rank and column rank of a matrix (see `matrix_rank_steps`), step by step, and its rank by singular values."""
    rows, columns = matrix_rank_steps(M), matrix_rank_steps(list(zip(*M)))
    floats = numpy.array(rows.steps[0].matrix, dtype=numpy.float64)
    S = ", ".join(f"{value:.4g}" for value in singular_values(floats))
    return "\n".join(
        [
            f"Row rank:\n{rows}\n{_count(rows.rank, 'row')} not zero: row rank {rows.rank}\n",
            f"Column rank, the row rank of the transpose:\n{columns}\n"
            f"{_count(columns.rank, 'row')} not zero: column rank {columns.rank}\n",
            f"Singular values: {S}",
            f"of which more than rounding: {numerical_rank(floats)}",
        ]
    )


def _count(n, what):
    return f"{n} {what} is" if n == 1 else f"{n} {what}s are"


def ranks_report(title, deltas, measures, percent):
    """The ranks of each delta_W, a row for each layer."""
    rows = [(title, "shape", "rank", "stable", "effective", f"for {percent:g} %", "norm")]
    for path, m in measures.items():
        O, I = shape_of(deltas[path])
        numbers = f"{m.rank}", f"{m.stable_rank:.1f}", f"{m.effective_rank:.1f}", f"{m.directions}", f"{m.norm:.3g}"
        rows.append((path, f"{O} x {I}", *numbers))
    return "\n".join(aligned(rows))


def similarity_report(similarities):
    """phi at three places and the smallest angle, a row for each layer, beside what random subspaces give."""
    rows = [("phi(i, j)", "(1, 1)", "(1, r2)", "(r1, r2)", "r1, r2", "random", "smallest angle")]
    for path, (phi, control, angles) in similarities.items():
        r1, r2 = phi.shape
        places = (f"{value:.3f}" for value in (phi[0, 0], phi[0, -1], phi[-1, -1]))
        degrees = f"{numpy.degrees(angles[0]):.1f} degrees"
        rows.append((path, *places, f"{r1}, {r2}", f"{control[-1, -1]:.3f}", degrees))
    return "\n".join(aligned(rows))


def amplification_report(tables):
    """Table 7, a row for each layer."""
    rows = [("||U^T W V^T|| for", "r", "delta W", "W itself", "random", "||W||", "||delta W||", "amplification")]
    for path, t in tables.items():
        numbers = (t.delta, t.weight, t.random_expected, t.norm_W, t.norm_delta, t.factor)
        rows.append((path, str(t.r), *(f"{value:.3g}" for value in numbers)))
    return "\n".join(aligned(rows))
