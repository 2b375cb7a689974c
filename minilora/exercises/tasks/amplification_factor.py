"""How much delta_W amplifies what W holds in delta_W's own directions."""

import numpy

from minilora.exercises.runner.calls import Call
from minilora.exercises.task import Task, mistakes_in, replacing
from minilora.exercises.tasks.lora_linear_forward import matrices

NAMES = ("projected", "factor")
SHAPES = ((7, 9, 2), (8, 5, 3), (6, 6, 2), (9, 7, 1))  # O, I, r


def calls(rng):
    given = {f"W of shape {(O, I)}, r = {r}": matrices(rng, (), O, I, r) for O, I, r in SHAPES}
    return [
        Call(where, "amplification_factor", {name: m[name] for name in ("W", "A", "B", "scale")}, NAMES)
        for where, m in given.items()
    ]


def norm(M):
    return float(numpy.linalg.norm(M))


def directions(A, B):
    """The r left and the r right singular vectors of B A, as columns."""
    U, _, Vt = numpy.linalg.svd(B @ A, full_matrices=False)
    return U[:, : len(A)], Vt[: len(A)].T


def with_projected(project):
    """Both results from another projection of W, project(W, A, B, scale)."""

    def factor(W, A, B, scale):
        projected = project(W, A, B, scale)
        return projected, scale * norm(B @ A) / projected

    return factor


def projected_norm(W, A, B, scale):
    U, V = directions(A, B)
    return norm(U.T @ W @ V)


right = with_projected(projected_norm)
wrong = replacing(right, *NAMES)


def with_factor(factor):
    """The right projection, and another factor: factor(delta_W, projected)."""
    return wrong(lambda W, A, B, scale: {"factor": factor(scale * (B @ A), projected_norm(W, A, B, scale))})


@wrong
def without_scale(W, A, B, scale):
    return {"factor": right(W, A, B, 1.0)[1]}


def all_vectors(change):
    """All min(O, I) vectors on each side, the last of which are arbitrary: those of one way to write it."""

    def project(W, A, B, scale):
        U, _, Vt = numpy.linalg.svd(change(A, B, scale), full_matrices=False)
        return norm(U.T @ W @ Vt.T)

    return with_projected(project)


def own_directions(W, A, B, scale):
    return norm(numpy.linalg.svd(W, compute_uv=False)[: len(A)])


ALL = "the one with all min(O, I) singular vectors: only the first r belong to delta_W"
MUTANTS = [
    *mistakes_in(
        "amplification_factor",
        {
            "the one without alpha / r: delta_W = scale B A": without_scale,
            "the one with the singular vectors of W: the directions are those of delta_W": with_projected(
                own_directions
            ),
            "||W||, or the one with it: W is not projected": with_projected(lambda W, A, B, scale: norm(W)),
            "the one with W projected on V alone: U^T is missing": with_projected(
                lambda W, A, B, scale: norm(W @ directions(A, B)[1])
            ),
            "the one with W projected on U alone: V is missing": with_projected(
                lambda W, A, B, scale: norm(directions(A, B)[0].T @ W)
            ),
            "the one with delta_W projected, where W belongs": with_projected(
                lambda W, A, B, scale: scale * norm(B @ A)
            ),
            "the one with the rows of A and the columns of B as they are: they are no singular vectors": with_projected(
                lambda W, A, B, scale: norm(B.T @ W @ A.T)
            ),
            "the one with the first direction alone, of r": with_projected(
                lambda W, A, B, scale: abs(directions(A, B)[0][:, 0] @ W @ directions(A, B)[1][:, 0])
            ),
            "the one with the largest singular value of U^T W V, where its Frobenius norm belongs": with_projected(
                lambda W, A, B, scale: float(numpy.linalg.norm(directions(A, B)[0].T @ W @ directions(A, B)[1], 2))
            ),
            "the square of the norm, or the one with it": with_projected(lambda *given: projected_norm(*given) ** 2),
            "the one with the largest singular value of delta_W, where its Frobenius norm belongs": with_factor(
                lambda delta, projected: numpy.linalg.norm(delta, 2) / projected
            ),
            "the one with the sum of the singular values of delta_W, where their Frobenius norm belongs": with_factor(
                lambda delta, projected: numpy.linalg.norm(delta, "nuc") / projected
            ),
            "the square of the right one": with_factor(lambda delta, projected: (norm(delta) / projected) ** 2),
            "||U^T W V|| / ||delta_W||: upside down": with_factor(lambda delta, projected: projected / norm(delta)),
            "||delta_W||, not divided by projected": with_factor(lambda delta, projected: norm(delta)),
        },
    ),
    *(
        (ALL, {"amplification_factor": all_vectors(change)})
        for change in (
            lambda A, B, scale: scale * (B @ A),
            lambda A, B, scale: B @ A,
            lambda A, B, scale: scale * B @ A,
        )
    ),
]
TASK = Task({"amplification_factor": right}, calls, MUTANTS)
