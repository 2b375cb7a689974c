"""phi(i, j), how far two adapters' directions agree."""

import numpy

from minilora.exercises.runner.calls import Call
from minilora.exercises.task import Task, mistakes_in

SHAPES = ((2, 4, 9), (5, 3, 8), (3, 3, 6), (1, 4, 7))  # r1, r2, I


def calls(rng):
    return [
        Call(
            f"A1 of shape {(r1, I)}, A2 of shape {(r2, I)}",
            "subspace_similarity",
            {"A1": uneven(rng, r1, I), "A2": uneven(rng, r2, I)},
            ("phi",),
        )
        for r1, r2, I in SHAPES
    ]


def uneven(rng, r, I):
    """A random A whose rows have lengths of their own, not in order, and whose singular values are well apart."""
    return rng.permutation(1.7 ** numpy.arange(r))[:, None] * rng.standard_normal((r, I))


def directions(A):
    return numpy.linalg.svd(A, full_matrices=False)[2]


def summed(V, W):
    """The table of sums over the first i and the first j."""
    return ((V @ W.T) ** 2).cumsum(axis=0).cumsum(axis=1)


def divided_by(number):
    """phi with number(i, j) for min(i, j); i is a column and j a row, both from 1."""

    def phi(A1, A2):
        i, j = numpy.ogrid[1 : len(A1) + 1, 1 : len(A2) + 1]
        return summed(directions(A1), directions(A2)) / number(i, j)

    return phi


def of_bases(first, second=None):
    """phi of other rows, first(A1) and second(A2)."""

    def phi(A1, A2):
        V, W = first(A1), (second or first)(A2)
        i, j = numpy.ogrid[1 : len(V) + 1, 1 : len(W) + 1]
        return summed(V, W) / numpy.minimum(i, j)

    return phi


right = divided_by(numpy.minimum)


def one_sum(axis):
    def phi(A1, A2):
        i, j = numpy.ogrid[1 : len(A1) + 1, 1 : len(A2) + 1]
        return ((directions(A1) @ directions(A2).T) ** 2).cumsum(axis=axis) / numpy.minimum(i, j)

    return phi


def summed_before_squared(A1, A2):
    i, j = numpy.ogrid[1 : len(A1) + 1, 1 : len(A2) + 1]
    cosines = directions(A1) @ directions(A2).T
    return cosines.cumsum(axis=0).cumsum(axis=1) ** 2 / numpy.minimum(i, j)


def not_squared(A1, A2):
    i, j = numpy.ogrid[1 : len(A1) + 1, 1 : len(A2) + 1]
    return (directions(A1) @ directions(A2).T).cumsum(axis=0).cumsum(axis=1) / numpy.minimum(i, j)


def absolute(A1, A2):
    i, j = numpy.ogrid[1 : len(A1) + 1, 1 : len(A2) + 1]
    return numpy.abs(directions(A1) @ directions(A2).T).cumsum(axis=0).cumsum(axis=1) / numpy.minimum(i, j)


def norm_not_squared(A1, A2):
    i, j = numpy.ogrid[1 : len(A1) + 1, 1 : len(A2) + 1]
    return numpy.sqrt(summed(directions(A1), directions(A2))) / numpy.minimum(i, j)


def from_zero(A1, A2):
    """The first i and j directions, where the first i - 1 and j - 1 are summed: shifted by one."""
    phi = right(A1, A2)
    shifted = numpy.zeros_like(phi)
    shifted[1:, 1:] = phi[:-1, :-1]
    return shifted


MUTANTS = {
    "the one divided by max(i, j)": divided_by(numpy.maximum),
    "the one divided by i": divided_by(lambda i, j: i),
    "the one divided by j": divided_by(lambda i, j: j),
    "the one divided by i j": divided_by(lambda i, j: i * j),
    "the one divided by the root of i j": divided_by(lambda i, j: numpy.sqrt(i * j)),
    "the one divided by min(i, j) + 1: i and j count from 1, and so does their minimum": divided_by(
        lambda i, j: numpy.minimum(i, j) + 1
    ),
    "the one divided by min(r1, r2) everywhere; it is min(i, j) for each entry": divided_by(
        lambda i, j: min(i.max(), j.max())
    ),
    "the one divided by max(r1, r2) everywhere; it is min(i, j) for each entry": divided_by(
        lambda i, j: max(i.max(), j.max())
    ),
    "the one that is not divided by min(i, j)": divided_by(lambda i, j: 1.0),
    "the one with the norm, where its square belongs": norm_not_squared,
    "the root of the right one": lambda A1, A2: numpy.sqrt(right(A1, A2)),
    "the one of single directions, (v_i . w_j)^2: phi adds up the first i and the first j": (
        lambda A1, A2: (directions(A1) @ directions(A2).T) ** 2
    ),
    "the one summed over a alone, not over b": one_sum(0),
    "the one summed over b alone, not over a": one_sum(1),
    "the one with the cosines added up first and then squared: each is squared": summed_before_squared,
    "the one with the cosines, not their squares": not_squared,
    "the one with the cosines' sizes, not their squares": absolute,
    "that of the rows as they are: they are not the directions": of_bases(lambda A: A),
    "that of the rows, each divided by its length: they are not orthogonal": of_bases(
        lambda A: A / numpy.linalg.norm(A, axis=1, keepdims=True)
    ),
    "that of A's rows made orthonormal one after another (QR): they span the same space, but are not in the order of "
    "the singular values, so that phi(r1, r2) alone is right": of_bases(lambda A: numpy.linalg.qr(A.T)[0].T),
    "the one with the directions from the smallest singular value to the largest": of_bases(
        lambda A: directions(A)[::-1]
    ),
    "the one with directions that are multiplied by their singular values": of_bases(
        lambda A: numpy.linalg.svd(A, full_matrices=False)[1][:, None] * directions(A)
    ),
    "the one with all I rows of Vt: only the first r are directions of A": of_bases(lambda A: numpy.linalg.svd(A)[2]),
    "the one of A1 and A1": lambda A1, A2: right(A1, A1),
    "the one of A2 and A1, in each other's place": lambda A1, A2: right(A2, A1),
    "the one with zeros in front: phi(i, j) stands in phi[i - 1, j - 1]": from_zero,
}
TASK = Task({"subspace_similarity": right}, calls, mistakes_in("subspace_similarity", MUTANTS))
