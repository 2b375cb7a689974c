"""phi(i, j), how far two adapters' directions agree."""

import numpy

from minilora.analysis import similarity_of_bases, subspace_similarity
from minilora.exercises.task import Task, mistakes_in


def points(rng):
    return {
        f"A1 of shape ({r1}, 9), A2 of shape ({r2}, 9)": {
            "A1": rng.standard_normal((r1, 9)) * rng.uniform(0.2, 3.0, (r1, 1)),
            "A2": rng.standard_normal((r2, 9)) * rng.uniform(0.2, 3.0, (r2, 1)),
        }
        for r1, r2 in ((2, 4), (5, 3))
    }


def answer(f, A1, A2):
    return {"phi": f.subspace_similarity(A1, A2)}


def directions(A):
    return numpy.linalg.svd(A, full_matrices=False)[2]


def counts(phi):
    """i and j, from 1, as a column and a row."""
    return numpy.ogrid[1 : phi.shape[0] + 1, 1 : phi.shape[1] + 1]


def divided_by_the_larger(A1, A2):
    phi = subspace_similarity(A1, A2)
    i, j = counts(phi)
    return phi * numpy.minimum(i, j) / numpy.maximum(i, j)


def not_divided(A1, A2):
    phi = subspace_similarity(A1, A2)
    return phi * numpy.minimum(*counts(phi))


def not_squared(A1, A2):
    phi = subspace_similarity(A1, A2)
    smaller = numpy.minimum(*counts(phi))
    return numpy.sqrt(phi * smaller) / smaller


def pairs_alone(A1, A2):
    return (directions(A1) @ directions(A2).T) ** 2


def unordered(A1, A2):
    return similarity_of_bases(numpy.linalg.qr(A1.T)[0].T, numpy.linalg.qr(A2.T)[0].T)


def reversed_order(A1, A2):
    return similarity_of_bases(directions(A1)[::-1], directions(A2)[::-1])


MUTANTS = {
    "the one divided by max(i, j)": divided_by_the_larger,
    "the one that is not divided by min(i, j)": not_divided,
    "the one with the norm, where its square belongs": not_squared,
    "the one of single directions, (v_i . w_j)^2: phi adds up the first i and the first j": pairs_alone,
    "that of A's rows made orthonormal one after another (QR): they span the same space, but are not in the order of "
    "the singular values, so that phi(r1, r2) alone is right": unordered,
    "the one with the directions from the smallest singular value to the largest": reversed_order,
}
TASK = Task({"subspace_similarity": subspace_similarity}, points, answer, mistakes_in("subspace_similarity", MUTANTS))
