"""All numbers of a report, computed once: the page, the summary and the JSON are made from them."""

from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

import numpy

from minilora.analysis import Factors, adapter_changes
from minilora.experiments.grid import in_order, places
from minilora.experiments.report.other import Overlap, Pair, compare
from minilora.experiments.report.own import Own, own_numbers
from minilora.experiments.report.weights import Against, against_weights
from minilora.methods import lora_layers
from minilora.models.model import Model

MOST_SHOWN = 24  # kinds of matrix that the terminal shows


class Report(NamedTuple):
    """What is known of an adapter."""

    name: str  # as it was given
    told: dict[str, Any]  # from `interop.description.describe`
    own: dict[str, Own]
    other: str | None = None  # the other adapter's name, as it was given
    pairs: dict[str, Pair] = {}  # noqa: RUF012  # never changed
    model: str | None = None  # the base's name
    against: dict[str, Against] = {}  # noqa: RUF012

    def numbers(self) -> dict[str, Any]:
        """Everything, as a dict that `--json` prints."""
        described = {key: value for key, value in self.told.items() if key != "norms"}
        content: dict[str, Any] = {"adapter": {"path": self.name, **described}}
        content["matrices"] = {name: _own(own) for name, own in self.own.items()}
        if self.other is not None:
            content["other"] = {
                "path": self.other,
                "matrices": {name: _pair(pair) for name, pair in self.pairs.items()},
            }
        if self.model is not None:
            rows = {name: _against(against) for name, against in self.against.items()}
            content["model"] = {"path": self.model, "matrices": rows}
        return content


def _own(own: Own) -> dict[str, Any]:
    return own._asdict() | {"random": own.random._asdict(), "used": own.used}


def _pair(pair: Pair) -> dict[str, Any]:
    return pair._asdict() | {side: getattr(pair, side)._asdict() for side in ("input", "output")}


def _against(against: Against) -> dict[str, Any]:
    table = against.amplification._asdict() | {"factor": against.amplification.factor}
    counts = {"intruders": against.intruders, "random_intruders": against.random_intruders}
    return against._asdict() | {"amplification": table} | counts


def make_report(
    name: str,
    told: dict[str, Any],
    factors: Mapping[str, Factors],
    *,
    other: str | None = None,
    others: Mapping[str, Factors] | None = None,
    model: str | None = None,
    adapted: Model | None = None,
    layers: tuple[str, ...] = (),
    seed: int = 0,
    progress: bool = False,
) -> Report:
    """Compute a report.

    Parameters
    ----------
    name : str
        What the report calls the adapter.
    told : dict
        From `interop.description.describe`.
    factors : dict of str to Factors
        From `factors_in`.
    other, others : str and dict of str to Factors, optional
        Another adapter: its name, and its factors.
    model, adapted : str and Model, optional
        The base: its name, and the model with the adapter in it, active.
    layers : tuple of str
        Names of matrices, or their ends; all, if none are given.
    seed : int
        For whatever is drawn at random.
    progress : bool
        Whether a bar is shown.

    Returns
    -------
    Report
    """
    rng = numpy.random.default_rng(seed)
    factors = _chosen(factors, layers)
    report = Report(name, told, own_numbers(factors, rng=rng, progress=progress))
    if other is not None and others is not None:
        report = report._replace(other=other, pairs=compare(factors, others, other, progress=progress))
    if model is not None and adapted is not None:
        changes, found = _chosen(adapter_changes(adapted), layers), lora_layers(adapted)
        weights = {path: found[path].base.W.data for path in changes}
        ranks = {path: len(found[path].adapters[found[path].active].A.data) for path in changes}
        against = against_weights(weights, changes, ranks, rng=rng, progress=progress)
        report = report._replace(model=model, against=against)
    return report


def _chosen(matrices: Mapping[str, Any], layers: tuple[str, ...]) -> dict[str, Any]:
    """The matrices that have one of these names, or end in one."""
    if not layers:
        return dict(matrices)
    endings = tuple(f".{layer}" for layer in layers)
    found = {name: matrix for name, matrix in matrices.items() if f".{name}".endswith(endings)}
    if not found:
        names = list(matrices)
        more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
        raise ValueError(f"--layers was {','.join(layers)}; there are {', '.join(names[:5])}{more}")
    return found


def by_kind(names: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of the matrices of each kind; those in no block are a kind each."""
    kinds: dict[str, list[str]] = {}
    for name, place in places(names).items():
        kinds.setdefault(name if place is None else place.kind, []).append(name)
    return {kind: kinds[kind] for kind in in_order(kinds)}


def summary_rows(report: Report) -> list[tuple[str, ...]]:
    """Medians for each kind of matrix: the table that the terminal shows, its head first."""
    head = ["kind", "matrices", "||delta W||", "rank used", "by chance"]
    head += ["phi", "by chance"] if report.pairs else []
    rows = []
    for kind, names in by_kind(report.own).items():
        own = [report.own[name] for name in names]
        row = [kind, str(len(own)), f"{median(o.norm for o in own):.3g}", _percent(median(o.used for o in own))]
        row.append(_percent(median(o.random.effective_rank / len(o.singular_values) for o in own)))
        if report.pairs:
            sides: list[Overlap] = [report.pairs[name].input for name in names if name in report.pairs]
            row += [
                f"{median(values):.3f}" if values else "-"
                for values in ([s.phi for s in sides], [s.random for s in sides])
            ]
        rows.append(tuple(row))
    return [tuple(head), *rows]


def weight_rows(report: Report) -> list[tuple[str, ...]]:
    """Medians of what compares delta_W with W, and the number of intruders, for each kind; the head first."""
    rows: list[tuple[str, ...]] = [("next to W", "relative", "factor", "by chance", "intruders", "by chance")]
    for kind, names in by_kind(report.against).items():
        found = [report.against[name] for name in names]
        middle = (median(values) for values in zip(*((a.amplification.factor, a.random_factor) for a in found)))
        counts = (sum(values) for values in zip(*((a.intruders, a.random_intruders) for a in found)))
        relative = f"{median(a.relative for a in found):.2g}"
        of = sum(len(a.cosines) for a in found)
        factor, random_factor = middle
        intruders, random_intruders = counts
        cells = (f"{factor:.3g}", f"{random_factor:.3g}", f"{intruders} of {of}", str(random_intruders))
        rows.append((kind, relative, *cells))
    return rows


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
