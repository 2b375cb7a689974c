"""How much delta_W amplifies what W holds in delta_W's own directions."""

import numpy

from minilora.analysis import Factors, amplification_factor, factored_svd, projection_norm
from minilora.exercises.task import Task, mistakes_in, named, replacing
from minilora.exercises.tasks.lora_linear_forward import matrices

NAMES = ("projected", "factor")


def points(rng):
    return {
        f"W of shape ({O}, {I}), r = {r}": {
            name: value for name, value in matrices(rng, (), O, I, r).items() if name in ("W", "A", "B", "scale")
        }
        for O, I, r in ((7, 9, 2), (8, 5, 3))
    }


def answer(f, W, A, B, scale):
    return named("amplification_factor", f.amplification_factor(W, A, B, scale), *NAMES)


def right(W, A, B, scale):
    U, _, Vt = factored_svd(B, A, scale)
    return projection_norm(W, U, Vt), amplification_factor(W, Factors(B, A, scale))


wrong = replacing(right, *NAMES)


@wrong
def without_scale(W, A, B, scale):
    return {"factor": right(W, A, B, 1.0)[1]}


@wrong
def directions_of_W(W, A, B, scale):
    projected = numpy.linalg.norm(numpy.linalg.svd(W, compute_uv=False)[: len(A)])
    return {"projected": projected, "factor": scale * numpy.linalg.norm(B @ A) / projected}


@wrong
def all_of_W(W, A, B, scale):
    return {"projected": numpy.linalg.norm(W), "factor": scale * numpy.linalg.norm(B @ A) / numpy.linalg.norm(W)}


@wrong
def one_side(W, A, B, scale):
    _, _, Vt = numpy.linalg.svd(B @ A, full_matrices=False)
    projected = numpy.linalg.norm(W @ Vt[: len(A)].T)
    return {"projected": projected, "factor": scale * numpy.linalg.norm(B @ A) / projected}


@wrong
def spectral(W, A, B, scale):
    return {"factor": scale * numpy.linalg.norm(B @ A, 2) / right(W, A, B, scale)[0]}


@wrong
def upside_down(W, A, B, scale):
    return {"factor": 1.0 / right(W, A, B, scale)[1]}


MUTANTS = {
    "the one without alpha / r: delta_W = scale B A": without_scale,
    "the one with the singular vectors of W: the directions are those of delta_W": directions_of_W,
    "||W||_F, or the one with it: W is not projected": all_of_W,
    "the one with W projected on V alone: U^T is missing": one_side,
    "the one with the largest singular value of delta_W, where its Frobenius norm belongs": spectral,
    "||U^T W V|| / ||delta_W||: upside down": upside_down,
}
TASK = Task({"amplification_factor": right}, points, answer, mistakes_in("amplification_factor", MUTANTS))
