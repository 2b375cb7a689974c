"""AdaLoRA in PEFT's files: lora_B, lora_E and lora_A of each module hold P, lam and Q.

PEFT multiplies by alpha / (init_r + 1e-5), where minilora's scale is alpha / initial_rank; the ratio of the two goes
into lam. What was pruned is left out of the tensors, and rank_pattern says what is there: here it stays, with lam = 0.

A fused module's P is cut into the rows of its layers, whose Q is the same. Joined, they stand in blocks: `fused.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from minilora.arrays.backend import to_numpy
from minilora.arrays.finite import check_finite
from minilora.files import read_json
from minilora.interop.peft_config import PeftConfig, peft_config_of
from minilora.interop.peft_layouts import CONFIG, PREFIX, TENSORS, ModelLayout
from minilora.interop.peft_settings import short_names
from minilora.interop.peft_tensors import (
    adapted_modules,
    head_alone,
    parts_of,
    read_stored,
    saved_modules,
    stored_tensors,
)
from minilora.interop.peft_write import places_of, task_of, values_of, write_adapter
from minilora.limits import shown
from minilora.methods import AdaLoRAConfig
from minilora.methods.adalora import add_adalora
from minilora.methods.lora.config import is_number, is_rank
from minilora.methods.selection import plain
from minilora.methods.state import adapters_of
from minilora.methods.switching import lora_layers
from minilora.models.model import Model

OWN_FIELDS = ("target_r", "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step")
EPS = 1e-5  # beside init_r in PEFT's scale
STEPS = 1000  # of a schedule that is kept as shares of all steps


class Triplets(NamedTuple):
    """P (O, r), lam (r,) and Q (r, I) of one layer or module, on the host."""

    P: numpy.ndarray
    lam: numpy.ndarray
    Q: numpy.ndarray


def load_adalora(model: Model, folder: Path, name: str) -> None:
    """Add an adapter of AdaLoRA's; arguments and errors are those of `load_peft`."""
    layout, path = ModelLayout(model), folder / CONFIG
    content = read_json(path)
    config = _in_loras_words(path, content)
    saved, adapted = saved_modules(config, layout), adapted_modules(config, layout)
    ranks = _ranks(config, content.get("rank_pattern"), adapted)
    shapes: dict[str, tuple[int, ...]] = {}
    for module, r in ranks.items():
        O, I = layout.shape(module)
        shapes |= {f"{module}.lora_A": (r, I), f"{module}.lora_B": (O, r), f"{module}.lora_E": (r, 1)}
    whole = head_alone(config, layout, saved, "AdaLoRA")
    shapes |= {tensor: layout.shape_of(tensor, paths) for tensor, paths in whole.items()}
    tensors = read_stored(folder / TENSORS, stored_tensors(folder / TENSORS, layout), shapes)
    check_finite(tensors, folder / TENSORS)
    triplets: dict[str, Triplets] = {}
    for module in adapted:
        P, lam, Q = (tensors[f"{module}.lora_{letter}"] for letter in "BEA")
        lam = lam[:, 0] * (config.r / (config.r + EPS))
        parts = _split(Triplets(P, lam, Q), len(layout.linear[module]))
        triplets |= {ours: part for ours, part in zip(layout.linear[module], parts, strict=True) if part is not None}
    most = max(1, *(len(part.lam) for part in triplets.values()))
    try:
        ours = AdaLoRAConfig(
            rank=min(content.get("target_r", 8), most),
            initial_rank=most,
            alpha=config.lora_alpha * most / config.r,  # the same scale
            targets=short_names(triplets, [p for paths in layout.linear.values() for p in paths], parts=1),
            dropout=config.lora_dropout,
            **_schedule(content),
        )
        parts_besides = parts_of(folder / TENSORS, layout, whole, tensors, model.xp)
        add_adalora(model, name, ours, {p: _padded(part, most) for p, part in triplets.items()}, parts_besides)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _in_loras_words(path: Path, content: dict[str, Any]) -> PeftConfig:
    """What AdaLoRA's fields have in common with LoRA's, checked as these are; a bias must be "none"."""
    common = {field: value for field, value in content.items() if field not in (*OWN_FIELDS, "rank_pattern")}
    r, alpha, bias = content.get("init_r", 12), content.get("lora_alpha", 8), content.get("bias", "none")
    words = {"peft_type": "LORA", "r": r, "lora_alpha": alpha, "alpha_pattern": {}, "bias": "none"}
    config = peft_config_of(common | words, path)
    if alpha <= 0:
        raise config.refusal("lora_alpha", f"was {shown(alpha)}; for AdaLoRA it must be above 0")
    if bias != "none":
        raise config.refusal("bias", f"was {shown(bias)}; it must be 'none': beside AdaLoRA, minilora trains no biases")
    return config


def _ranks(config: PeftConfig, pattern: Any, adapted: Sequence[str]) -> dict[str, int]:
    """How many triplets are left in each module."""
    pattern = {} if pattern is None else pattern
    if not isinstance(pattern, dict) or not all(
        isinstance(kept, list) and len(kept) <= config.r and all(type(k) is bool for k in kept)
        for kept in pattern.values()
    ):
        raise config.refusal("rank_pattern", f"must be lists of at most {config.r} times true or false, by name")
    return {module: sum(pattern.get(f"{module}.lora_E", [True] * config.r)) for module in adapted}


def _schedule(content: dict[str, Any]) -> dict[str, Any]:
    """The fields about training, in our words; those that are not there have our defaults."""
    names = {"beta1": "beta1", "beta2": "beta2", "deltaT": "interval", "orth_reg_weight": "orthogonality"}
    found = {ours: content[theirs] for theirs, ours in names.items() if theirs in content}
    total, shares = content.get("total_step"), {"tinit": "warmup_share", "tfinal": "final_share"}
    if is_rank(total):
        found |= {ours: content[f] / total for f, ours in shares.items() if is_number(content.get(f))}
    return found


def _split(fused: Triplets, n: int) -> list[Triplets | None]:
    """The triplets of n layers that PEFT has as one module, without those that are zero in a layer."""
    if n == 1:
        return [fused]
    parts: list[Triplets | None] = []
    for P in numpy.split(fused.P, n):
        used = P.any(axis=0)
        parts.append(Triplets(P[:, used], fused.lam[used], fused.Q[used]) if used.any() else None)
    return parts


def _padded(part: Triplets, r: int) -> Triplets:
    """r triplets, of which the last are zero."""
    more = (0, r - len(part.lam))
    return Triplets(numpy.pad(part.P, ((0, 0), more)), numpy.pad(part.lam, more), numpy.pad(part.Q, (more, (0, 0))))


def save_adalora(model: Model, folder: Path, name: str, base: str | None) -> None:
    """Write an adapter of AdaLoRA's; arguments and errors are those of `save_peft`."""
    layout, adapter = ModelLayout(model), adapters_of(model).named[name]
    held = {plain(path): layer.adapters[name] for path, layer in lora_layers(model).items() if name in layer.adapters}
    known = {path for paths in layout.linear.values() for path in paths}
    if missing := sorted(held.keys() - known):
        raise ValueError(f"{missing[0]} is adapted, for which PEFT's format has no name")
    ours, pruned = adapter.config, any(f.lam.data.any() for f in held.values())
    left = {path: _left(factors, pruned) for path, factors in held.items()}
    joined = {
        module: _joined([left.get(path) for path in paths], [len(layout.parameters[f"{p}.W"].data) for p in paths])
        for module, paths in layout.linear.items()
        if held.keys() & set(paths)
    }
    r = max(ours.initial_rank, *(len(part.lam) for part in joined.values()))
    saved, _, whole = places_of(adapter.parts, layout, joined)
    tensors: dict[str, numpy.ndarray] = {}
    for module, (P, lam, Q) in joined.items():
        E = numpy.asarray(lam * ((r + EPS) / r), lam.dtype)[:, None]
        tensors |= {f"{PREFIX}{module}.lora_{letter}": array for letter, array in zip("BEA", (P, E, Q), strict=True)}
    for tensor, paths in whole.items():
        tensors[PREFIX + tensor] = values_of(layout, tensor, [adapter.parts[path] for path in paths])
    kept = {f"{module}.lora_E": [k < len(part.lam) for k in range(r)] for module, part in joined.items()}
    config = {
        "peft_type": "ADALORA",
        "task_type": task_of(layout, saved),
        "base_model_name_or_path": base,
        "inference_mode": True,
        "init_r": r,
        "target_r": ours.rank,
        "lora_alpha": ours.alpha * r / ours.initial_rank,
        "lora_dropout": ours.dropout,
        "rank_pattern": None if all(map(all, kept.values())) else kept,
        "total_step": STEPS,
        "tinit": round(STEPS * ours.warmup_share),
        "tfinal": round(STEPS * ours.final_share),
        "deltaT": ours.interval,
        "beta1": ours.beta1,
        "beta2": ours.beta2,
        "orth_reg_weight": ours.orthogonality,
        "target_modules": short_names(joined, layout.linear, parts=2),
        "fan_in_fan_out": layout.transposed,
        "modules_to_save": saved or None,
        "bias": "none",
    }
    write_adapter(folder, tensors, config)


def _left(factors: Any, pruned: bool) -> Triplets:
    """What is left of a layer's triplets; all of them before any has learned something."""
    P, lam, Q = (to_numpy(p.data) for p in (factors.B, factors.lam, factors.A))
    used = lam != 0 if pruned else numpy.ones(len(lam), bool)
    return Triplets(P[:, used], lam[used], Q[used])


def _joined(parts: Sequence[Triplets | None], rows: Sequence[int]) -> Triplets:
    """The triplets of one module, with those of several layers in blocks."""
    held = [part for part in parts if part is not None]
    lam, Q = numpy.concatenate([part.lam for part in held]), numpy.concatenate([part.Q for part in held])
    P, start = numpy.zeros((sum(rows), len(lam)), lam.dtype), 0
    for part, block in zip(parts, numpy.split(P, numpy.cumsum(rows)[:-1]), strict=True):
        if part is not None:
            block[:, start : start + len(part.lam)] = part.P
            start += len(part.lam)
    return Triplets(P, lam, Q)
