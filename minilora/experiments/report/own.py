"""What an adapter's file alone says: size and spectrum of each delta_W, and how A and B share the work."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy
from tqdm import tqdm

from minilora.analysis import (
    SVD,
    Factors,
    factored_svd,
    measures_of_spectrum,
    random_product_norm,
    random_spectrum,
    stable_rank,
)
from minilora.analysis.changes import as_matrix
from minilora.analysis.spectrum import effective_rank
from minilora.analysis.svd import rank_of_spectrum
from minilora.interop.stored_factors import StoredFactors, read_factors
from minilora.limits import one_line_errors, shown

SHARE = 0.9  # of the energy, for `directions`
TOO_LARGE = 1e30  # of an entry or a scale: the square of their product is still finite
DRAWS = 8  # random spectra for each shape


class Random(NamedTuple):
    """What Gaussian factors of the same shape and rank give, on average."""

    spectrum: numpy.ndarray  # (r,), as fractions of the first singular value
    effective_rank: float
    stable_rank: float


class Own(NamedTuple):
    """One delta_W = scale * B @ A."""

    shape: tuple[int, int]
    r: int
    scale: float
    norm: float  # ||delta_W||_F
    norm_B: float
    norm_A: float
    alignment: float  # ||delta_W|| as a multiple of what unrelated factors of these norms give; up to sqrt(r)
    rank: int
    stable_rank: float
    effective_rank: float
    directions: int  # that carry SHARE of ||delta_W||^2
    singular_values: numpy.ndarray  # (min(r, O, I),)
    random: Random

    @property
    def used(self) -> float:
        """The effective rank as a fraction of the most there can be."""
        return self.effective_rank / len(self.singular_values)


@one_line_errors()
def factors_in(path: str | Path) -> dict[str, Factors]:
    """The factors of an adapter, checked and in float64, by the names in its file.

    Raises
    ------
    ValueError
        If it holds none, or numbers that are not finite or too large to be squared.
    """
    factors = {name: _checked(f, f"{path}: {shown(name)}") for name, f in read_factors(path).items()}
    if not factors:
        raise ValueError(f"{path} holds no A and B of a matrix; it must hold a LoRA adapter")
    return factors


def _checked(f: StoredFactors, name: str) -> Factors:
    B, A = as_matrix(f"{name}: B", f.B), as_matrix(f"{name}: A", f.A)
    largest = max(numpy.abs(B).max(), numpy.abs(A).max(), abs(f.scale))
    if not largest < TOO_LARGE:
        raise ValueError(f"{name} has {largest:.3g} in B, A or scale; each number must be below {TOO_LARGE:g}")
    return Factors(B, A, f.scale)


def own_numbers(
    factors: Mapping[str, Factors], *, rng: numpy.random.Generator, progress: bool = False
) -> dict[str, Own]:
    """Own of each matrix, by its name.

    Parameters
    ----------
    factors : dict of str to Factors
    rng : numpy.random.Generator
        Draws the random spectra.
    progress : bool
        Whether a bar is shown.
    """
    random: dict[tuple[int, int, int], Random] = {}
    numbers = {}
    for name, f in tqdm(factors.items(), "spectra", unit="matrix", disable=not progress, delay=2, leave=False):
        (O, r), (_, I) = f.B.shape, f.A.shape
        if (O, I, r) not in random:
            random[O, I, r] = _random(O, I, r, rng)
        S = _singular_values(f)
        norm_B, norm_A = float(numpy.linalg.norm(f.B)), float(numpy.linalg.norm(f.A))
        measures = measures_of_spectrum(S, rank_of_spectrum(S, f), SHARE)
        unrelated = abs(f.scale) * random_product_norm(norm_B, norm_A, r)
        numbers[name] = Own(
            shape=(O, I),
            r=r,
            scale=f.scale,
            norm_B=norm_B,
            norm_A=norm_A,
            alignment=measures.norm / unrelated if unrelated > 0 else 0.0,
            **measures._asdict(),
            singular_values=S,
            random=random[O, I, r],
        )
    return numbers


def leading_directions(f: Factors) -> SVD:
    """The singular vectors of delta_W whose singular values are more than rounding."""
    svd = factored_svd(*f)
    return svd.leading(rank_of_spectrum(svd.S, f))


def _singular_values(f: Factors) -> numpy.ndarray:
    return factored_svd(*f).S


def _random(O: int, I: int, r: int, rng: numpy.random.Generator) -> Random:
    spectra = [random_spectrum(O, I, r, rng=rng) for _ in range(DRAWS)]
    effective, stable = (float(numpy.mean([measure(S) for S in spectra])) for measure in (effective_rank, stable_rank))
    return Random(numpy.mean(spectra, axis=0), effective, stable)
