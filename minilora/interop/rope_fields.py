"""RoPE's fields of config.json, in and out: the theta, and Llama 3's scaling of the frequencies."""

import math
from typing import Any

from minilora.interop.hf_folder import HFFolder
from minilora.limits import shown
from minilora.ops import Llama3Scaling

THETA = 10000.0  # where config.json names none
SCALING = {  # from the fields of transformers' "llama3" to those of Llama3Scaling
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_max_position_embeddings": "original_n_positions",
}
OTHERS = ("rope_type", "type", "rope_theta", "partial_rotary_factor")


def read_rope(hf: HFFolder) -> tuple[float, Llama3Scaling | None]:
    """theta and, where config.json asks for it, Llama 3's scaling.

    As in transformers 5, rope_scaling counts before rope_parameters, and a theta in either before rope_theta. Every
    other kind of RoPE ("linear", "dynamic", "yarn", "longrope") is refused by its name.

    Parameters
    ----------
    hf : HFFolder

    Raises
    ------
    ValueError
        If the fields ask for something that minilora does not compute, or a value is not a positive number.
    """
    field = "rope_scaling" if hf.config.get("rope_scaling") else "rope_parameters"
    given: Any = hf.config.get(field) or {}
    path = f"{hf.path / 'config.json'}: {field}"
    if not isinstance(given, dict):
        raise ValueError(f"{path} was {shown(given)}; it must be a mapping")
    kind = given.get("rope_type", given.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise ValueError(f"{path} had the rope_type {shown(kind)}; it must be 'default' or 'llama3'")
    known = (*OTHERS, *SCALING) if kind == "llama3" else OTHERS
    if unknown := [key for key, value in given.items() if key not in known and value is not None]:
        raise ValueError(f"{path} had {shown(unknown[0])}; a rope_type of {kind!r} must have no such field")
    _require_whole(given.get("partial_rotary_factor", hf.config.get("partial_rotary_factor")), path)
    theta = _positive(given.get("rope_theta", hf.config.get("rope_theta", THETA)), "rope_theta", path)
    return theta, _scaling(hf, given, path) if kind == "llama3" else None


def rope_fields(theta: float, scaling: Llama3Scaling | None) -> dict[str, Any]:
    """config.json's fields, for transformers 5 (rope_parameters) and 4 (rope_theta and rope_scaling) alike."""
    llama3 = scaling and {"rope_type": "llama3"} | {theirs: getattr(scaling, ours) for theirs, ours in SCALING.items()}
    both = (llama3 or {"rope_type": "default"}) | {"rope_theta": theta}
    return {"rope_parameters": both, "rope_theta": theta} | ({"rope_scaling": both} if llama3 else {})


def _scaling(hf: HFFolder, given: dict[str, Any], path: str) -> Llama3Scaling:
    longest = "original_max_position_embeddings"
    given = {longest: hf.config.get("max_position_embeddings")} | given
    given |= {longest: hf.config[longest]} if longest in hf.config else {}
    values = {ours: _positive(given.get(theirs), theirs, path) for theirs, ours in SCALING.items()}
    try:
        return Llama3Scaling(**values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _require_whole(factor: Any, path: str) -> None:
    if factor not in (None, 1.0):
        raise ValueError(f"{path}: partial_rotary_factor was {shown(factor)}; it must be 1, for RoPE turns whole heads")


def _positive(value: Any, name: str, path: str) -> Any:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 2**1000
    if not fits or not math.isfinite(value):
        raise ValueError(f"{path}: {name} was {shown(value)}; it must be a positive number")
    return value
