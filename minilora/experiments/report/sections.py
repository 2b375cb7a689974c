"""The parts of a report's page that an adapter alone suffices for: each says how to read it, and what random matrices
would give."""

from statistics import median

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
from minilora.experiments.report.report import Report, by_kind
from minilora.limits import one_line


def sizes(report: Report) -> str:
    """How large each delta_W is."""
    return section(
        "sizes",
        "How large is ΔW?",
        "‖ΔW‖ is the length of everything that the adapter adds to one matrix (its Frobenius norm): the stronger the "
        "colour, the more was changed there. Compare cells within a column, where all matrices have the same shape.",
        "A size has no random control: at the start of training B is zero, and so is ΔW. With --model, the part “next "
        "to W” compares it with ‖W‖.",
        [heat_table("‖ΔW‖, by block and kind of matrix", {name: own.norm for name, own in report.own.items()})],
    )


def spectra(report: Report) -> str:
    """In how many directions each delta_W goes."""
    from minilora.plots import inline

    pictures = {}
    for kind, names in list(by_kind(report.own).items())[:MOST_KINDS]:
        own = [report.own[name] for name in names]
        r, used = max(o.r for o in own), [o.used for o in own]
        pictures[text(kind, LONGEST_NAME)] = inline.spectra(
            [o.singular_values for o in own],
            own[0].random.spectrum,
            alt=f"Singular values of delta W of {one_line(kind, LONGEST_NAME)} in {len(own)} matrices, as fractions of "
            f"the first, r up to {r}; the effective rank is {percent(min(used))} to {percent(max(used))} of r.",
        )
    rows = [
        (
            text(name, LONGEST_NAME),
            f"{o.shape[0]:,} × {o.shape[1]:,}",
            str(o.r),
            str(o.rank),
            f"{o.effective_rank:.1f}",
            f"{o.random.effective_rank:.1f}",
            f"{o.stable_rank:.1f}",
            f"{o.random.stable_rank:.1f}",
            str(o.directions),
        )
        for name, o in report.own.items()
    ]
    head = ("matrix", "shape", "r", "rank", "effective", "by chance", "stable", "by chance", "for 90 %")
    chance = median(o.random.effective_rank / len(o.singular_values) for o in report.own.values())
    return section(
        "spectra",
        "How much of the rank is used?",
        "ΔW is a sum of directions, and its singular values say how strong each is. The effective rank counts them by "
        "strength: at 100 % all r are equally strong; at a low value, a few of them make up almost all of ΔW.",
        f"Gaussian B and A of these shapes give an effective rank of about {percent(chance)} of r (dashed lines: their "
        "singular values). Below that, a few directions are stronger than chance makes them.",
        [
            heat_table(
                "effective rank, as a fraction of r", {n: o.used for n, o in report.own.items()}, percent, largest=1.0
            ),
            '<p class="note">Singular values as fractions of the first, a line for each block, from the first block '
            '<span class="ramp"></span> to the last; dashed: Gaussian B and A.</p>',
            figures(pictures),
            folded(
                "Every matrix in numbers",
                table("ranks of ΔW; for 90 %: how many directions carry 90 % of ‖ΔW‖²", head, rows),
            ),
        ],
    )


def factors(report: Report) -> str:
    """How A and B share the work."""
    rows = [
        (
            text(name, LONGEST_NAME),
            number(o.scale),
            number(o.norm_A),
            number((o.r / 3) ** 0.5),
            number(o.norm_B),
            number(o.norm),
            number(o.alignment),
            number(o.r**0.5),
        )
        for name, o in report.own.items()
    ]
    most = max(o.r for o in report.own.values()) ** 0.5
    head = ("matrix", "scale", "‖A‖", "√(r / 3)", "‖B‖", "‖ΔW‖", "alignment", "√r, the most")
    return section(
        "factors",
        "A next to B",
        "The alignment says how well B reads what A writes: ‖ΔW‖ as a multiple of scale ‖B‖ ‖A‖ / √r. It goes up "
        "to √r, where both work in one single direction. (A starts with ‖A‖ near √(r / 3) by default, and B at zero: "
        "how far the two are from that is what training has moved.)",
        "Factors of the same norms that know nothing of each other give an alignment of 1.00.",
        [
            heat_table("alignment of B and A", {name: o.alignment for name, o in report.own.items()}, largest=most),
            folded("Every matrix in numbers", table("norms of the factors", head, rows)),
        ],
    )
