"""`minilora demo`: the main job, and what it prints at its end."""

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minilora.cli.colours import painted
from minilora.cli.measures import token_of
from minilora.cli.options import MODEL_HELP, add_device, add_json, add_seed, integer, refuse
from minilora.cli.parser import Parser
from minilora.cli.paths import check_input, check_output_folder
from minilora.cli.printing import WIDTH, fitted, print_json, remark_of
from minilora.experiments.text_table import aligned

EXAMPLE = "minilora demo --text my.txt"
MODELS = ("base", "LoRA", "full fine-tuning")


def add_options(p: Parser) -> None:
    """What to adapt to, for how long, and where to write."""
    from minilora.experiments.demo_settings import OF_LARGE, OF_SMALL

    p.add_argument(
        "--model", metavar="MODEL", default="decoder", help=f"{MODEL_HELP}; it must be a decoder, which can write"
    )
    p.add_argument("--text", metavar="FILE", help="adapt to this UTF-8 text, of 5 KB or more, instead of mini-E2E")
    p.add_argument(
        "--steps",
        type=integer(1, 10**9),
        metavar="N",
        help=f"training steps of each method (default: {OF_SMALL.steps}; for a large model {OF_LARGE.steps})",
    )
    p.add_argument(
        "--from-results",
        action="store_true",
        help="train nothing: show the table, and draw the figures, of the results in --out, such as figures/latest",
    )
    p.add_argument("--out", metavar="DIR", default="figures/latest", help="for figures and numbers")
    p.add_argument("--runs", metavar="DIR", default="runs/demo", help="for the adapter and the fine-tuned model")
    add_device(p)
    add_seed(p)
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Run the demonstration, and print its results."""
    from minilora.experiments import demo, demo_figures

    if options.from_results:
        refuse(options, options.typed - {"from_results", "out", "json", "quiet"}, "--from-results trains nothing")
        results, drawn = demo_figures.read(options.out)
        demo_figures.draw(options.out, results, drawn)
        print_json(results) if options.json else print(report(results, options.out))
        return 0
    if options.text is not None:
        check_input("--text", options.text)
    written = ("demo.json", demo_figures.NUMBERS, *demo_figures.FIGURES)
    check_output_folder("--out", options.out, {"--text": options.text}, written)
    check_output_folder("--runs", options.runs, {}, ())
    say = remark_of(options)
    if options.text is None and options.model == "decoder" and say is print:
        say("A preview: the adapter that comes with minilora, on two prompts.\n")
        say("\n".join(listed(demo.preview(), ("prompt", "base", "bundled adapter"))), flush=True)
    results = demo.run(
        options.out,
        options.runs,
        model=options.model,
        text=options.text,
        steps=options.steps,
        device=options.device,
        seed=options.seed,
        command=options.command,
        say=say,
    )
    print_json(results) if options.json else print(report(results, options.out))
    return 0


def report(results: dict[str, Any], folder: str | Path) -> str:
    """The demonstration's results as text.

    Parameters
    ----------
    results : dict
        From `demo.run`.
    folder : str or Path
        Where the figures and numbers are.

    Returns
    -------
    text : str
    """
    from minilora.experiments.demo_figures import FIGURES

    merging, switching = results["merging"], results["switching"]
    speed = {name: s["median"] for name, s in merging["tokens_per_second"].items()}
    facts = fitted(
        [
            f"Merged into W, the adapter gives the same answer to {merging['same_answers']} of {merging['answers']} "
            f"prompts; logits differ by {merging['largest_logit_difference']:.0e} of the largest.",
            f"One sequence, tokens per second: base {speed['base']:,.0f}, LoRA merged {speed['LoRA, merged']:,.0f}, "
            f"LoRA beside W {speed['LoRA']:,.0f}.",
            f"Unmerged: the frozen weights are back to the bit: {yes(merging['unmerged_to_the_bit'])}",
            f"Adapter off: the model is the base to the bit: {yes(switching['base_to_the_bit'])}",
            f"Adapter from its file: the adapted model to the bit: {yes(switching['adapter_from_file_to_the_bit'])}",
            "",
            f"Figures ({', '.join(FIGURES)}) and numbers (demo.json) are in {folder}.",
            f"It took {results['seconds']:.0f} seconds.",
        ]
    )
    return "\n".join([*table(results), "", *samples(results), *facts])


def table(results: dict[str, Any]) -> list[str]:
    """The comparison as aligned lines, a column for each model."""
    rows = [("", *MODELS)]

    def row(name, value):
        cells = []
        for model in MODELS:
            try:
                cells.append(value(results[model]))
            except KeyError:
                cells.append("-")
        rows.append((name, *cells))

    row("trainable parameters", lambda r: f"{r['trainable']:,}")
    row("% of all, A and B included", lambda r: f"{r['percent']:.2f}")
    row(f"test loss, nats per {token_of(results['base'])}", lambda r: f"{r['loss']:.3f}")
    row("test loss, bits per byte", lambda r: f"{r['bits_per_byte']:.3f}")
    if "slot_exact" in results["base"]:
        row("slot-exact sentences, %", lambda r: f"{100 * r['slot_exact']:.0f}")
        row("slot error rate, %", lambda r: f"{100 * r['slot_error_rate']:.0f}")
    row("training, seconds", lambda r: f"{r['seconds']:.0f}")
    row("training, tokens per second", lambda r: f"{r['tokens_per_second']:,.0f}")
    row("peak memory of a step, MB", lambda r: megabytes(r["memory"]["peak"]))
    row("file, KB", lambda r: f"{r['file']['bytes'] / 1e3:,.0f}")
    return aligned(rows)


def samples(results: dict[str, Any], n: int = 2) -> list[str]:
    """What each model answers to the first n prompts."""
    rows = []
    for i in range(min(results.get("n_shown", n), len(results["base"]["samples"]))):
        asked, *answered = (results[model]["samples"][i] for model in ("base", *MODELS))
        answers = dict(zip(MODELS, (sample["answer"] for sample in answered), strict=True))
        rows.append({"prompt": asked["prompt"].strip(), **answers, "reference": asked["reference"]})
    return listed(rows, ("prompt", *MODELS, "reference"))


def listed(rows: Sequence[Mapping[str, str]], labels: Sequence[str]) -> list[str]:
    """The texts of each row under their labels, and an empty line after each row."""
    return [line for row in rows for line in (*(labelled(label, row[label]) for label in labels), "")]


def labelled(label: str, text: str) -> str:
    """A label with a text next to it, on one line or several."""
    text = " ".join(text.split()) or "(nothing)"
    return textwrap.fill(text, WIDTH, initial_indent=label.ljust(18), subsequent_indent=" " * 18)


def megabytes(n: int | None) -> str:
    """Bytes as text in MB, or a dash if they are not known."""
    return "-" if n is None else f"{n / 1e6:.1f}"


def yes(fact: bool) -> str:
    """ "yes" or "NO", on a terminal in green or red."""
    return painted("yes", "green", sys.stdout) if fact else painted("NO", "red", sys.stdout)
