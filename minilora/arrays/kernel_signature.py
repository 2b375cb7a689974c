"""Reads the first line of a kernel, "x[...; C], gain[C], eps -> y[...; C]"; see `arrays/kernels.py`."""

import re
from typing import Any, NamedTuple

import numpy

REALS = {"f": "float", "d": "double"}  # by NumPy's dtype.char
C_TYPES = {"f": "real", "d": "real", "?": "bool", "i": "int", "l": "long long", "q": "long long"}


def real_type(char: str) -> str:
    """The lines of a CUDA source that say what `real`, LOWEST and TINY are, for NumPy's dtype.char."""
    limits = numpy.finfo(char)
    return (
        f"typedef {REALS[char]} real;\n"
        f"[[maybe_unused]] constexpr real LOWEST = {float(limits.min)!r}, TINY = {float(limits.tiny)!r};\n"
    )


class Operand(NamedTuple):
    """One name of a signature."""

    name: str
    kind: str  # "rows", "elements", "whole", "number" or "unused"
    lead: tuple = ()  # the names of the axes; of rows, those before the ";"
    column: str = ""  # the name of the axis after the ";"


def operands(side: str) -> tuple[Operand, ...]:
    """One side of a signature, "x[...; C], gain[C], eps", as Operands."""
    return tuple(_operand(*match) for match in re.findall(r"(\w+)(?:\[(.*?)\])?", side))


def _operand(name: str, axes: str) -> Operand:
    if not axes:
        return Operand(name, "unused" if name == "_" else "number")
    if axes == "...":
        return Operand(name, "elements", ("...",))
    lead, _, column = (part.strip() for part in axes.partition(";"))
    return Operand(name, "rows" if column else "whole", tuple(lead.replace(" ", "").split(",")), column)


def c_type(operand: Operand, about: Any) -> str | None:
    """The C type of a number, or of an array's elements; None if it has none."""
    if operand.kind == "unused":
        return ""
    if operand.kind == "number":
        return {int: "long long", float: "real"}.get(about)
    return "bool" if about is None else C_TYPES.get(getattr(about, "char", ""))


def bind(operand: Operand, about: Any, axes: dict) -> bool:
    """Add an array's axes by name, "..." for all leading ones; False if they contradict the earlier ones."""
    if operand.kind in ("number", "unused"):
        return True
    shape, found = about.shape, {}
    if operand.kind == "elements":
        found["..."] = shape
    elif operand.kind == "rows":
        if not shape:
            return False
        found["..."], found[operand.column] = shape[:-1], shape[-1]
        shape = shape[:-1]
    if "..." not in operand.lead:
        if len(shape) != len(operand.lead):
            return False
        found |= zip(operand.lead, shape, strict=True)
    fits = all(axes.setdefault(name, size) == size for name, size in found.items())
    return fits and axes.pop("1", 1) == 1
