"""`minilora report`: a page about one's own adapter."""

import argparse
from pathlib import Path
from typing import Any

from minilora.cli.opening import PEFT_FILE, adapter_file, named_model, open_lora
from minilora.cli.options import LAYERS_HELP, MODEL_HELP, add_json, add_seed, names_in
from minilora.cli.parser import Parser
from minilora.cli.paths import check_output
from minilora.cli.printing import print_json, table, wrapped
from minilora.files import write_atomically
from minilora.interop.description import describe
from minilora.interop.peft_layouts import CONFIG
from minilora.limits import one_line

EXAMPLE = "minilora report runs/one --other runs/two --out report.html"
WHAT = "a file of minilora's, its run folder, a folder that PEFT saved, or a .gguf file"


def add_options(p: Parser) -> None:
    """The adapter, what it is compared with, and the page."""
    p.add_argument("adapter", help=f"a LoRA adapter: {WHAT}")
    p.add_argument("--out", metavar="FILE", required=True, help="the page, one HTML file that needs no network")
    p.add_argument("--other", metavar="FILE", help="another adapter, such as one of another seed (default: none)")
    p.add_argument("--model", metavar="MODEL", help=f"the base, for what needs W: {MODEL_HELP} (default: none)")
    p.add_argument("--layers", help=LAYERS_HELP)
    add_seed(p, "for random matrices")
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Measure, write the page, and say the most important."""
    from minilora.experiments.report.own import factors_in
    from minilora.experiments.report.page import page
    from minilora.experiments.report.report import make_report

    reads = {"the adapter": options.adapter, "--other": options.other, "--model": options.model}
    check_output("--out", options.out, reads, example="report.html")
    path = located("the adapter", options.adapter)
    told = described("the adapter", options.adapter, path)
    compared: dict[str, Any] = {}
    factors = factors_in(path)
    if options.other is not None:
        other = located("--other", options.other)
        described("--other", options.other, other)
        compared |= {"other": options.other, "others": factors_in(other)}
    if options.model is not None:
        compared |= {"model": options.model, "adapted": adapted(options.model, path)}
    layers = () if options.layers is None else names_in(options.layers)
    progress = not options.json
    report = make_report(
        options.adapter, told, factors, **compared, layers=layers, seed=options.seed, progress=progress
    )
    write_atomically(options.out, page(report))
    print_json(report.numbers()) if options.json else print("\n".join(summary(report, options.out)))
    return 0


def located(option: str, name: str) -> Path:
    """The file or folder of an adapter; PEFT's folder, if its file was given."""
    path = Path(name)
    if not path.exists():
        raise ValueError(f"{option} was {name}; there is no such file or folder")
    return path.parent if path.name == PEFT_FILE and (path.parent / CONFIG).is_file() else path


def described(option: str, name: str, path: Path) -> dict[str, Any]:
    """What the file is; ValueError unless it is a LoRA adapter."""
    told = describe(path)
    if told["holds"] != "adapter":
        raise ValueError(f"{option} was {name}, a whole model; it must be a LoRA adapter: {WHAT}")
    if "norms" not in told:
        raise ValueError(f"{option} was {name}, which is {told['method']}; it must be LoRA or a variant of it")
    return told


def adapted(model: str, path: Path) -> Any:
    """The base with the adapter in it."""
    from minilora.interop import load_peft

    if not (path / CONFIG).is_file():
        return open_lora(model, str(adapter_file(str(path))))
    opened = named_model(model).model
    load_peft(opened, path)
    return opened


def summary(report: Any, out: str) -> list[str]:
    """What the terminal shows: medians for each kind of matrix, and where the page is."""
    from minilora.experiments.report.report import MOST_SHOWN, summary_rows, weight_rows

    lines = [one_line(report.name, 300), ""]
    for rows in (summary_rows(report), weight_rows(report) if report.against else []):
        if rows:
            shown = [(one_line(kind, 60), *cells) for kind, *cells in rows]
            lines += [*table(shown[: MOST_SHOWN + 1]), ""]
            lines += [f"and {len(shown) - 1 - MOST_SHOWN:,} more kinds", ""] if len(shown) - 1 > MOST_SHOWN else []
    lines += wrapped("medians over the matrices of a kind; by chance: what random matrices would give", "", "")
    return [*lines, f"{out}: the page"]
