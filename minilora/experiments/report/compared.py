"""The parts of a report's page that compare an adapter with another one, and with the W that it is added to."""

import math
from statistics import median

import numpy

from minilora.experiments.report.html import (
    LONGEST_NAME,
    MOST_KINDS,
    figures,
    folded,
    heat_table,
    number,
    percent,
    section,
    table,
    text,
)
from minilora.experiments.report.other import SHOWN
from minilora.experiments.report.report import Report, by_kind
from minilora.experiments.report.weights import EPSILON
from minilora.limits import one_line

PAPER = '<a href="https://arxiv.org/abs/2106.09685" rel="noreferrer">Hu et al., 2021</a>'
INTRUDERS = '<a href="https://arxiv.org/abs/2410.21228" rel="noreferrer">Shuttleworth et al., 2024</a>'
GRIDS = 6  # of phi, that are drawn


def other(report: Report) -> str:
    """Whether another adapter uses these directions, too."""
    from minilora.plots import inline

    pairs = report.pairs
    if not pairs:
        inside, chance = (
            ['<p class="note">In one of the two, every ΔW is zero: there are no directions to compare.</p>'],
            "",
        )
    else:
        rows = [
            (
                text(name, LONGEST_NAME),
                f"{pair.ranks[0]}, {pair.ranks[1]}",
                *(f"{v:.3f}" for v in (pair.input.phi, pair.input.random)),
                number(pair.input.z),
                *(f"{v:.3f}" for v in (pair.output.phi, pair.output.random)),
                number(pair.output.z),
                f"{pair.cosine:.3f}",
            )
            for name, pair in pairs.items()
        ]
        head = ("matrix", "r₁, r₂", "φ, input", "by chance", "z", "φ, output", "by chance", "z", "cosine")
        z, phi = ({name: getattr(pair.input, what) for name, pair in pairs.items()} for what in ("z", "phi"))
        pictures, strongest = {}, _strongest(z)
        full = _rounded_up(max(pairs[name].input.grid.max() for name in strongest))
        for name in strongest:
            pair = pairs[name].input
            short = text(name, LONGEST_NAME)
            pictures[f"{short}: φ = {pair.phi:.2f}"] = inline.similarity(
                pair.grid,
                largest=full,
                alt=f"phi(i, j) of {one_line(name, LONGEST_NAME)}: {pair.grid[0, 0]:.2f} for the first directions, "
                f"{pair.phi:.2f} for all; by chance {pair.random:.2f}.",
            )
        first = pairs[strongest[0]].input
        pictures["by chance, for the first of these"] = inline.similarity(
            first.random_grid, largest=full, alt=f"phi(i, j) of random subspaces: up to {first.random:.2f}."
        )
        chance = (
            f"Random subspaces of these sizes have a φ of {median(p.input.random for p in pairs.values()):.3f} on the "
            "input side (median over the matrices). z says how many of their standard deviations φ lies above that: "
            "with many directions, beyond 3 is hardly an accident (with one or two, 4 can be). Two runs that drew the "
            "same A agree on the input side before they have learned anything; the output side, which starts at zero, "
            "has no such head start."
        )
        inside = [
            heat_table("φ(r₁, r₂) on the input side", phi, largest=_rounded_up(max(phi.values()))),
            heat_table("z on the input side: deviations above chance", z, largest=max(6.0, *z.values())),
            f'<p class="note">φ(i, j) of the first i directions here and the first j there (up to {SHOWN}), for the '
            f"matrices with the largest z, in colours from φ = 0 to {full:g}.</p>",
            figures(pictures),
            folded(
                "Every matrix in numbers",
                table("φ on both sides; cosine: between the two ΔW as long vectors", head, rows),
            ),
        ]
    return section(
        "other",
        f"The same directions as {text(report.other, LONGEST_NAME)}?",
        "φ says how much of the directions of one ΔW lies within those of the other: 0 if they are orthogonal, 1 if "
        f"one space contains the other ({PAPER}, section 7.2; here for ΔW itself, whatever its split into B and A).",
        chance or "Random subspaces of dimension r in n dimensions have φ = r / n on average.",
        inside,
    )


def _rounded_up(phi: float) -> float:
    """The next of 0.1, 0.2, ..., 1: the phi of the full colour."""
    return min(10, max(1, math.ceil(10 * phi))) / 10


def _strongest(z: dict[str, float]) -> list[str]:
    """The names with the largest z."""
    return sorted(z, key=lambda name: numpy.nan_to_num(z[name], nan=-numpy.inf), reverse=True)[:GRIDS]


def weights(report: Report) -> str:
    """delta_W next to W."""
    found = report.against
    rows = [
        (
            text(name, LONGEST_NAME),
            number(a.amplification.norm_W),
            number(a.amplification.norm_delta),
            percent(a.relative),
            number(a.amplification.delta),
            number(a.amplification.random_expected),
            number(a.amplification.weight),
            number(a.amplification.factor),
            number(a.random_factor),
        )
        for name, a in found.items()
    ]
    head = ("matrix", "‖W‖", "‖ΔW‖", "ratio", "W along ΔW", "along random", "along itself", "factor", "by chance")
    chance = f"about {number(median(a.random_factor for a in found.values()))}" if found else "‖ΔW‖ √(O I) / (r ‖W‖)"
    return section(
        "weights",
        "Next to W",
        "‖ΔW‖ / ‖W‖ says how large the change is next to what was there. The amplification factor says how much "
        f"stronger ΔW is than W in ΔW's own directions: ‖ΔW‖ / ‖UᵀWVᵀ‖ ({PAPER}, section 7.3 and table 7).",
        f"If ΔW's directions were random, the factor would be {chance}. Below that, ΔW follows directions in which W "
        "is strong; above it, directions that W hardly uses.",
        [
            heat_table("‖ΔW‖ / ‖W‖", {name: a.relative for name, a in found.items()}),
            heat_table("amplification factor", {name: a.amplification.factor for name, a in found.items()}),
            folded("Every matrix in numbers", table("table 7, for every matrix", head, rows)),
        ],
    )


def intruders(report: Report) -> str:
    """Leading directions that W did not have."""
    from minilora.plots import inline

    found = report.against
    if not found:
        return ""
    kinds = list(by_kind(found).items())[:MOST_KINDS]
    dots = {one_line(kind, 24): numpy.concatenate([found[name].cosines for name in names]) for kind, names in kinds}
    k, chance = max(len(a.cosines) for a in found.values()), median(a.chance for a in found.values())
    n, random, of = (sum(v) for v in zip(*((a.intruders, a.random_intruders, len(a.cosines)) for a in found.values())))
    rows = [
        (
            text(name, LONGEST_NAME),
            str(len(a.cosines)),
            str(a.intruders),
            str(a.random_intruders),
            f"{a.cosines.min():.3f}",
        )
        for name, a in found.items()
    ]
    head = ("matrix", "directions", "intruders", "by chance", "smallest cosine")
    picture = inline.cosines(
        dots,
        threshold=EPSILON,
        chance=chance,
        alt=f"Largest cosine of each leading direction of W + delta W with the directions of W: {n} of {of} are below "
        f"{EPSILON:g}.",
    )
    return section(
        "intruders",
        "Intruder dimensions",
        f"An intruder is one of the {k} leading left-singular vectors of W + ΔW whose cosine with every one of W's is "
        f"below {EPSILON:g}: a strong direction that the model did not have ({INTRUDERS}). Here {n} of {of} directions "
        "are intruders. The count depends on the threshold; the picture shows all cosines.",
        f"A ΔW with the same singular values in random directions makes {random} intruders. A single direction drawn "
        f"at random has a largest cosine of about {chance:.2f} with those of W.",
        [
            heat_table(
                f"intruders among the {k} leading directions", {n: a.intruders for n, a in found.items()}, str, k
            ),
            figures({"Each dot is one leading direction of W + ΔW.": picture}, wide=True),
            folded("Every matrix in numbers", table(f"intruders below a cosine of {EPSILON:g}", head, rows)),
        ],
    )
