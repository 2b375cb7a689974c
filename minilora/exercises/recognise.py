"""Recognises the mistake behind a wrong tensor. A mistake is named only if it is certain: wherever the tensor was
computed, it equals what that mistake gives, up to rounding, and not the right result; no other known mistake gives it.
"""

import numpy

Tensor = dict[int, numpy.ndarray]  # the call's number to what the call gave under one name

SAME = 1e-7  # relative: two answers with the same mistake differ only by rounding, which a division can magnify
DIGITS = 1e-5  # a right answer in float32 is off by less


def sentence_for(
    name: str,
    got: Tensor,
    wanted: dict[str, Tensor],
    mutants: list[tuple[str, dict[str, Tensor]]],
    exact: bool,
) -> str:
    """The mistake in one tensor, as a sentence; empty if none is known, or several are.

    Parameters
    ----------
    name : str
    got : Tensor
        What the student's code returned; calls in which it returned nothing are missing.
    wanted : dict of str to Tensor
        The right tensors, by name.
    mutants : list of (str, dict of str to Tensor)
        For each known mistake, its description and what it gives.
    exact : bool
        Whether the tensor must equal the right one to the bit.
    """
    want = wanted[name]
    got = {i: array for i, array in got.items() if i in want}
    if not got:
        return ""
    pairs = [(array, want[i]) for i, array in got.items()]
    if any(not numpy.isfinite(a).all() and numpy.isfinite(w).all() for a, w in pairs):
        return f"Your {name} holds values that are infinite or NaN."
    if all(a.dtype == numpy.float32 and a.shape == w.shape and error_of(a, w) <= DIGITS for a, w in pairs):
        return f"Your {name} is float32: right to 7 digits or so, where float64 has 16."
    if _all_same(pairs):
        return _nearly(name, exact)
    said = {what for what, made in mutants if _equals(got, made.get(name, {}), want)}
    if len(said) == 1:
        return f"Your {name} equals {said.pop()}."
    return "" if said else _in_any_tensor(name, got, wanted)


def _equals(got: Tensor, made: Tensor, want: Tensor) -> bool:
    """Whether `got` equals what a mistake gives, in every call that has a result, and that is not right."""
    if any(i not in made for i in got):
        return False
    if not _all_same([(array, made[i]) for i, array in got.items()]):
        return False
    return any(not _same(made[i], want[i]) for i in got)


def _in_any_tensor(name: str, got: Tensor, wanted: dict[str, Tensor]) -> str:
    """Mistakes that are possible with any tensor."""
    want = wanted[name]
    pairs = [(array, want[i]) for i, array in got.items()]
    for other, tensor in wanted.items():
        if other != name and _equals(got, tensor, want) and any(tensor[i].any() for i in got):
            return f"Your {name} equals the right {other}: the results are asked for as {', '.join(wanted)}."
    if all(w.ndim > 1 and a.ndim > 1 and _same(a, numpy.swapaxes(w, -1, -2)) for a, w in pairs):
        return f"Your {name} equals the transpose of the right one."
    if all(w.size > 1 and _same(a, w.reshape(a.shape) if a.size == w.size else w) for a, w in pairs):
        was, should = next((a.shape, w.shape) for a, w in pairs if a.shape != w.shape)
        return f"Your {name} holds the right numbers in another shape: {was}, where {should} belongs."
    if all(w.ndim == 2 and a.shape == w.shape and _same(a, w.T.reshape(w.shape)) for a, w in pairs):
        return (
            f"Your {name} has the right shape and holds the numbers of the transpose in reading order: `reshape` "
            "does not transpose."
        )
    if any(a.shape != w.shape for a, w in pairs):
        return ""
    if all(not a.any() for a, _ in pairs):
        return f"Your {name} is {'False every time' if pairs[0][0].dtype.kind == 'b' else 'zero everywhere'}."
    scaled = [(a, w) for a, w in pairs if w.any()]
    factors = [float(numpy.vdot(a, w) / numpy.vdot(w, w)) for a, w in scaled]
    fits = all(_same(a, factor * w) for factor, (a, w) in zip(factors, scaled, strict=True))
    if not factors or not fits or not all(_same(a, w) for a, w in pairs if not w.any()):
        return ""
    if any(abs(factor - 1.0) < DIGITS for factor in factors):
        return ""
    if max(factors) - min(factors) <= SAME * abs(factors[0]) and (len(factors) > 1 or scaled[0][1].size > 1):
        sign = " (the wrong sign)" if abs(factors[0] + 1.0) < SAME else ""
        return f"Your {name} equals {factors[0]:.6g} times the right one{sign}."
    if all(w.size > 1 for _, w in scaled) and len(factors) > 1:
        several = ", then ".join(f"{factor:.6g}" for factor in factors)
        return f"Your {name} equals the right one times a number that is not always the same: {several}."
    return ""


def _nearly(name, exact):
    if exact:
        return (
            f"Your {name} is right to 7 digits or more, but not to the bit: what is recomputed, or stored with fewer "
            "digits, is rounded."
        )
    return ""


def same_bits(a: numpy.ndarray, b: numpy.ndarray) -> bool:
    """Whether two arrays are equal in shape and in every bit of their values."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def error_of(got: numpy.ndarray, want: numpy.ndarray) -> float:
    """||got - want|| / ||want||; ||got|| if want is zero; NaN if got is not finite."""
    got, want = got.astype(numpy.float64), want.astype(numpy.float64)
    if not numpy.isfinite(got).all():
        return float("nan")
    return float(numpy.linalg.norm(got - want) / (numpy.linalg.norm(want) or 1.0))


def _all_same(pairs):
    return all(_same(a, b) for a, b in pairs)


def _same(a, b):
    return a.shape == b.shape and error_of(a, b) <= SAME
