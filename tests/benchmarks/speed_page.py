"""Put the committed results of the benchmarks into docs/speed.md.

    python tests/benchmarks/speed_page.py

A block of text behind a comment such as ``<!-- ladder -->`` is made here from the JSON files in figures/bench; a test
holds the pages to it.
"""

import json
import re
from pathlib import Path
from statistics import median

from minilora.accounting import adaptation, architecture_of, memory_estimate
from minilora.experiments.bench.report import METHODS, generation, memory, scaling, spread, training
from minilora.experiments.bench.shapes import RANK, SHAPES
from minilora.experiments.measure import median_and_range
from minilora.experiments.text_table import aligned

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "docs" / "speed.md",)
RESULTS = ROOT / "figures" / "bench"
TARGETS = {  # times as fast as the peer: LoRA's step, a full step and generation; and LoRA's part of the floor, %
    "S1": (2.8, 2.3, 5.0, 60),
    "S2": (2.7, 2.1, 4.0, 75),
    "S3": (2.5, 2.1, 2.3, 80),
    "gpt2-small": (2.4, None, 2.4, 80),
    "smollm2": (2.4, None, 2.5, 75),
}


def read(name):
    return json.loads((RESULTS / name).read_text())


def machine(results):
    """The line that says where numbers come from."""
    made, kernel = results["provenance"], results.get("blas", {}).get("kernel")
    names = ("numpy", "torch", "transformers", "peft", "xllamacpp")
    versions = ", ".join(f"{name} {made[name]}" for name in names if name in made)
    products = f", products by OpenBLAS's kernel for {kernel}" if kernel else ""
    return f"{made['processor']}, {made['machine']}{products}; Python {made['python']}, {versions}; {made['date']}"


def blocks():
    """The text of each block, by the name in its comment."""
    folders = ("", "gpt2-small/", "smollm2/bench/", "compiled/")
    bench, gpt2, language_model, compiled = (read(f"{folder}bench.json") for folder in folders)
    ladder, where, ways = map(read, ("ladder.json", "where.json", "processes.json"))
    smollm2, bits = read("smollm2/smollm2.json"), read("smollm2/four_bits.json")
    made = {threads: read(f"smollm2/threads-{threads}/generation.json") for threads in (1, 2)}
    return {
        "bench": tables_of(bench, training, generation),
        "gpt2": tables_of(gpt2, training, generation, memory),
        "smollm2_bench": tables_of(language_model, training, generation, memory),
        "compiled": tables_of(compiled, training),
        "memory": aligned(memory(bench["memory"])),
        "estimate": aligned(estimates(bench["memory"])),
        "scaling": aligned(scaling(bench["scaling"])),
        "ladder": aligned(rungs(ladder["rungs"])),
        "where": aligned(kinds(where["ms"])),
        "targets": aligned(targets(bench, gpt2, language_model)),
        "processes": aligned(processes(ways["seconds"])),
        "speed": aligned(summary(bench, gpt2, language_model)),
        "smollm2": [*aligned(steps_of_smollm2(smollm2["results"])), "", machine(smollm2)],
        "smollm2_bits": [*aligned(bits_of_smollm2(bits["results"])), "", machine(bits)],
        "smollm2_generation": aligned(generation_of_smollm2(made)),
    }


def tables_of(results, *tables):
    """The tables of a bench.json, and where its numbers come from."""
    parts = {training: "train", generation: "generate", memory: "memory"}
    lines = [line for table in tables for line in (*aligned(table(results[parts[table]])), "")]
    return [*lines, machine(results)]


def estimates(results):
    """Of each shape and method, in MB: what `memory_estimate` says of a step, and what its process held at most."""
    rows = [("MB", "weights", "gradients, AdamW", "activations", "workspace", "sum", "measured")]
    for name, methods in results.items():
        shape = SHAPES[name]
        architecture = architecture_of(shape.config)
        for method, contenders in methods.items():
            settings = {"rank": RANK, "targets": ("q_proj", "v_proj")} if method == "lora" else {}
            e = memory_estimate(
                architecture, adaptation(architecture, method, **settings), batch_size=shape.N, length=shape.T
            )
            measured = contenders["minilora"]["step"] - contenders["minilora"]["imports"]
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


def targets(*all_results):
    """What was aimed at, what was reached, and what part of the floor the first aim would have been."""
    rows = [("aim", "aimed at", "reached", "", "the aim as % of the floor")]
    for results in all_results:
        for shape, methods in results["train"].items():
            step, full_step, generating, floor = TARGETS[shape]
            ratio, part = methods["lora"]["ratio"]["median"], methods["lora"]["floor_percent"]["median"]
            made = results["generate"][shape]["lora"]["ratio"]["median"]
            rows.append(
                (
                    f"{shape}, LoRA step, times the peer",
                    f"{step:.1f}",
                    f"{ratio:.2f}",
                    met(ratio, step),
                    f"{part * step / ratio:.0f}",
                )
            )
            rows.append((f"{shape}, LoRA step, % of the floor", f"{floor}", f"{part:.0f}", met(part, floor), ""))
            rows.append(
                (f"{shape}, generating, times the peer", f"{generating:.1f}", f"{made:.2f}", met(made, generating), "")
            )
            if "full" in methods:
                full = methods["full"]["ratio"]["median"]
                rows.append(
                    (f"{shape}, full step, times the peer", f"{full_step:.1f}", f"{full:.2f}", met(full, full_step), "")
                )
            held = results["memory"][shape]["lora"]
            part, most = 100 * held["minilora"]["step"] / held["torch"]["step"], 50 if shape.startswith("S") else 100
            rows.append((f"{shape}, memory, % of the peer's", f"{most}", f"{part:.0f}", met(-part, -most), ""))
    return rows


def steps_of_smollm2(results):
    """Of each targets and shape: tokens per second of each side, the ratio, and memory."""
    sides = [side for side, row in next(iter(results.values())).items() if isinstance(row, dict) and "tokens/s" in row]
    head = (*(f"{side}, tokens/s" for side in sides), "times as fast", *(f"{side}, MB" for side in sides))
    rows = [("a LoRA step, r = 8", *head, "of its memory")]
    for name, row in results.items():
        speeds, memories = ([spread(row[side][what], ",.0f") for side in sides] for what in ("tokens/s", "MB"))
        rows.append(
            (name, *speeds, spread(row.get("times as fast"), ".2f"), *memories, spread(row.get("of its memory"), ".2f"))
        )
    return rows


def bits_of_smollm2(results):
    """Of each kind and shape: tokens per second, how much longer a step takes than in float32, and memory."""
    rows = [
        ("a LoRA step, r = 8", "tokens/s", "float32, tokens/s", "times its time", "MB", "of its MB", "parameters, MB")
    ]
    for name, row in results.items():
        kind = name.split(",")[0]
        speeds = (spread(row[side]["tokens/s"], ",.0f") for side in (kind, "float32"))
        faster = row["times as fast"]
        longer = {"median": 1 / faster["median"], "min": 1 / faster["max"], "max": 1 / faster["min"]}
        memory = spread(row[kind]["MB"], ",.0f"), spread(row["of its memory"], ".2f")
        rows.append((name, *speeds, spread(longer, ".2f"), *memory, f"{row[kind]['MB of parameters']:,.0f}"))
    return rows


def generation_of_smollm2(records):
    """Of each contender, with one thread and with two: tokens per second, and how many times as fast minilora is."""
    rows = [("one sequence, tokens/s", *(f"{threads} thread(s)" for threads in records), "minilora's, times")]
    found = {threads: record["results"]["smollm2"] for threads, record in records.items()}
    for name in next(iter(found.values())):
        cells = (spread(median_and_range(of[name]), ".1f") for of in found.values())
        times = (median(a / b for a, b in zip(of["minilora"], of[name], strict=True)) for of in found.values())
        rows.append((name, *cells, ", ".join(f"{ratio:.2f}" for ratio in times)))
    return rows


def met(value, aim):
    """ "met" or "missed"."""
    return "met" if value >= aim else "missed"


def processes(shapes):
    """Milliseconds of each way, by shape."""
    rows = [("ms", *shapes)]
    for way in next(iter(shapes.values())):
        cells = ({name: 1e3 * s for name, s in of[way].items()} for of in shapes.values())
        rows.append((way, *(spread(cell, ".0f") for cell in cells)))
    return rows


def summary(*all_results):
    """In short: LoRA against PyTorch with PEFT."""
    rows = [("times as fast as PyTorch + PEFT", "LoRA step", "generating", "tokens/s", "memory, % of its")]
    for results in all_results:
        for shape, methods in results["train"].items():
            lora, made, held = methods["lora"], results["generate"][shape]["lora"], results["memory"][shape]["lora"]
            part = 100 * held["minilora"]["step"] / held["torch"]["step"]
            rows.append(
                (
                    shape,
                    spread(lora["ratio"], ".2f"),
                    spread(made["ratio"], ".2f"),
                    f"{lora['tokens_per_second']:,.0f}",
                    f"{part:.0f}",
                )
            )
    return rows


def filled(page, texts):
    """The page with every named block replaced."""

    def block(match):
        return f"<!-- {match[1]} -->\n```text\n" + "\n".join(texts[match[1]]) + "\n```"

    return re.sub(r"<!-- (\w+) -->\n```text\n.*?```", block, page, flags=re.DOTALL)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text(), blocks()))
