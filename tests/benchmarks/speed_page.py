"""Put the committed results of the benchmarks into docs/speed.md and README.md.

    python tests/benchmarks/speed_page.py

A block of text behind a comment such as ``<!-- ladder -->`` is made here from the JSON files in figures/bench; a test
holds the pages to it.
"""

import json
import re
from pathlib import Path

from minilora.analysis import adaptation, architecture_of, memory_estimate
from minilora.experiments.bench.report import METHODS, aligned, generation, memory, scaling, spread, training
from minilora.experiments.bench.shapes import RANK, SHAPES
from minilora.models import GPTConfig

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "docs" / "speed.md", ROOT / "README.md")
RESULTS = ROOT / "figures" / "bench"


def read(name):
    return json.loads((RESULTS / name).read_text())


def machine(results):
    """The line that says where numbers come from."""
    made = results["provenance"]
    versions = ", ".join(f"{name} {made[name]}" for name in ("numpy", "torch", "transformers", "peft") if name in made)
    return f"{made['processor']}, {made['machine']}; Python {made['python']}, {versions}; {made['date']}"


def blocks():
    """The text of each block, by the name in its comment."""
    bench, gpt2, ladder, where = map(read, ("bench.json", "gpt2-small/bench.json", "ladder.json", "where.json"))
    return {
        "bench": [*aligned(training(bench["train"])), "", *aligned(generation(bench["generate"])), "", machine(bench)],
        "gpt2": [
            *aligned(training(gpt2["train"])), "", *aligned(generation(gpt2["generate"])), "",
            *aligned(memory(gpt2["memory"])), "", machine(gpt2),
        ],
        "memory": aligned(memory(bench["memory"])),
        "estimate": aligned(estimates(bench["memory"])),
        "scaling": aligned(scaling(bench["scaling"])),
        "ladder": aligned(rungs(ladder["rungs"])),
        "where": aligned(kinds(where["ms"])),
        "speed": aligned(summary(bench, gpt2)),
    }  # fmt: skip


def estimates(results):
    """Of each shape and method, in MB: what `memory_estimate` says of a step, and what its process held at most."""
    rows = [("MB", "weights", "gradients, AdamW", "activations", "workspace", "sum", "measured")]
    for name, methods in results.items():
        shape = SHAPES[name]
        architecture = architecture_of(GPTConfig(shape.V, max(shape.T, 256), shape.L, shape.C, shape.H))
        for method, sides in methods.items():
            settings = {"rank": RANK, "targets": ("q_proj", "v_proj")} if method == "lora" else {}
            e = memory_estimate(architecture, adaptation(architecture, method, **settings),
                                batch_size=shape.N, length=shape.T)  # fmt: skip
            measured = sides["minilora"]["step"] - sides["minilora"]["imports"]
            parts = e.weights, e.gradients + e.optimizer, e.activations, e.workspace, e.total, measured
            rows.append((f"{name}, {METHODS[method]}", *(f"{part / 1e6:,.1f}" for part in parts)))
    return rows


def rungs(shapes):
    """Of each rung and shape: times as fast as the first rung."""
    rows = [("times the first", *shapes)]
    for name in next(iter(shapes.values())):
        rows.append((name, *(spread(of[name]["times_the_first"], ".2f") for of in shapes.values())))
    return rows


def kinds(shapes):
    """Of each kind of op and shape: milliseconds of a step, and percent."""
    rows = [("ms (%) of a step", *shapes)]
    for kind in next(iter(shapes.values())):
        rows.append((kind, *(f"{ms[kind]:.1f} ({100 * ms[kind] / sum(ms.values()):.0f})" for ms in shapes.values())))
    return rows


def summary(bench, gpt2):
    """The README's table: LoRA against PyTorch with PEFT."""
    rows = [("times as fast as PyTorch + PEFT", "LoRA step", "generating", "tokens/s", "memory, % of its")]
    for results in (bench, gpt2):
        for shape, methods in results["train"].items():
            lora, made, held = methods["lora"], results["generate"][shape]["lora"], results["memory"][shape]["lora"]
            part = 100 * held["minilora"]["step"] / held["torch"]["step"]
            rows.append((shape, spread(lora["ratio"], ".2f"), spread(made["ratio"], ".2f"),
                         f"{lora['tokens_per_second']:,.0f}", f"{part:.0f}"))  # fmt: skip
    return rows


def filled(page, texts):
    """The page with every named block replaced."""
    def block(match):
        return f"<!-- {match[1]} -->\n```text\n" + "\n".join(texts[match[1]]) + "\n```"

    return re.sub(r"<!-- (\w+) -->\n```text\n.*?```", block, page, flags=re.DOTALL)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text(), blocks()))
