"""The page: one HTML file that needs nothing else, with its own style, pictures as SVG, and no script."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import minilora
from minilora.experiments.report import compared, sections
from minilora.experiments.report.html import number, percent, text
from minilora.experiments.report.report import Report
from minilora.interop.description import in_words

# Even if a name got past `text`, nothing of it could run, and nothing could be asked for elsewhere.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
TITLES = {
    "sizes": "size",
    "spectra": "rank used",
    "factors": "A and B",
    "other": "another adapter",
    "weights": "next to W",
    "intruders": "intruders",
}


def page(report: Report) -> str:
    """The report as HTML."""
    parts = {"sizes": sections.sizes, "spectra": sections.spectra, "factors": sections.factors}
    if report.other is not None:
        parts["other"] = compared.other
    if report.model is not None:
        parts |= {"weights": compared.weights, "intruders": compared.intruders}
    made = {name: part(report) for name, part in parts.items()}
    links = "".join(f'<a href="#{name}">{TITLES[name]}</a>' for name, content in made.items() if content)
    title = text(Path(report.name).resolve().name)
    style = files("minilora.experiments.report").joinpath("page.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}: what it has learned</title>",
            f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>",
            f'<p class="lead">{_lead(report)}</p>',
            _tiles(report),
            _facts(report),
            f'<nav aria-label="parts">{links}</nav>',
            *made.values(),
            f"<footer>Made by minilora {text(minilora.__version__)}. This page asks nothing of the network. "
            f"Links: {compared.PAPER}, LoRA; {compared.INTRUDERS}, intruder dimensions.</footer>",
            "</main>\n</body>\n</html>\n",
        ]
    )


def _lead(report: Report) -> str:
    """What was found, in a sentence or two."""
    zero = [name for name, own in report.own.items() if own.norm == 0]
    if len(zero) == len(report.own):
        return "Every ΔW is zero: this adapter has learned nothing yet."
    largest = max(report.own, key=lambda name: report.own[name].norm)
    said = f"It changes {text(largest, 70)} most, by ‖ΔW‖ = {number(report.own[largest].norm)}"
    if zero:
        said += f"; {len(zero):,} of its {len(report.own):,} matrices it leaves as they were"
    used = sorted(own.used for own in report.own.values())
    chance = sorted(own.random.effective_rank / len(own.singular_values) for own in report.own.values())
    half = len(used) // 2
    middle = f"{percent(used[half])} of their rank; by chance, {percent(chance[half])}"
    return f"{said}. Half of its matrices use at most {middle}."


def _tiles(report: Report) -> str:
    """The numbers that one asks for first."""
    told, ranks = report.told, sorted({own.r for own in report.own.values()})
    scales = sorted({own.scale for own in report.own.values()})
    tiles = {
        "method": text(told["method"]),
        "rank r": _span(ranks, str),
        "scale": _span(scales, number),
        "matrices": f"{len(report.own):,}",
        "trained numbers": f"{told['trained']:,}",
        "file": f"{told['bytes'] / 1e3:,.0f} KB" if told["bytes"] < 1e6 else f"{told['bytes'] / 1e6:,.1f} MB",
    }
    cells = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in tiles.items())
    return f'<dl class="tiles">{cells}</dl>'


def _span(values: list[Any], shown: Any) -> str:
    return shown(values[0]) if len(values) == 1 else f"{shown(values[0])} to {shown(values[-1])}"


def _facts(report: Report) -> str:
    """What the file says of itself, and what the report compares it with."""
    facts = {"file": report.name} | in_words(report.told)
    if report.told["method"] == "dora":
        facts["note"] = "DoRA also sets the length of each row; shown is scale B A, the part before that."
        if report.model is not None:
            facts["note"] += " Next to W, ΔW is what DoRA changes in all."
    if report.told["method"] == "pissa":
        facts["note"] = "PiSSA starts from parts of W: ΔW is scale (B A − B₀ A₀), a product of twice the rank."
    if report.told["method"] == "lora-ga":
        facts["note"] = "LoRA-GA starts from a gradient: ΔW is scale (B A − B₀ A₀), a product of twice the rank."
    facts |= {"compared with": report.other} if report.other is not None else {}
    facts |= {"next to the base": report.model} if report.model is not None else {}
    rows = "".join(f"<dt>{text(label)}</dt><dd>{_breakable(text(value))}</dd>" for label, value in facts.items())
    return f'<dl class="facts">{rows}</dl>'


def _breakable(text: str) -> str:
    """HTML of a text that can be wrapped after each slash, as paths and lists of targets have many."""
    return text.replace("/", "/<wbr>")
