"""``make pages``: put committed results and the repository's address into README.md, docs/ and the assets' page.

A paragraph or a block of text behind a comment such as ``<!-- demo-table -->`` is made here, from JSON files that the
commands wrote; a test holds the pages to it. ``tests/benchmarks/speed_page.py`` does this for the tables of speed.
"""

import json
import re
import textwrap
from pathlib import Path

from address import address, binder, colab, on_github

from minilora.cli.demo import listed, samples, table
from minilora.data import parse_source, slot_errors
from minilora.experiments import merging_quantized, reader_ablations
from minilora.experiments.comparison import plus_minus
from minilora.experiments.text_table import aligned
from minilora.methods import bundled_adapter
from minilora.models import bundled_recipe

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGES = (ROOT / "README.md", *sorted(HERE.glob("*.md")), ROOT / "minilora" / "assets" / "README.md")
PARTS = ("train", "generate", "memory")  # of the benchmarks
FIRST = "tutorials/01_rank.ipynb"  # the notebook that the badges open


def badges(repository):
    """Links that open the first notebook in Colab and in Binder, as Markdown; none without an address on GitHub."""
    if not on_github(repository):
        return []
    return [
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab(repository, FIRST)})",
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder(repository, FIRST)})",
    ]


def read(name):
    """A committed result."""
    return json.loads((ROOT / "figures" / name).read_text(encoding="utf-8"))


def is_exact(sample):
    """Whether an answer states every attribute of its prompt once and nothing else."""
    return slot_errors(parse_source(sample["prompt"].strip()), sample["answer"]).exact


def demonstration(results, elsewhere):
    """The blocks about `minilora demo`, from its demo.json, and from that of the same run on another processor."""
    lora, full, base = results["LoRA"], results["full fine-tuning"], results["base"]
    shown = [
        {"prompt": asked["prompt"].strip(), "base": asked["answer"], "LoRA": answered["answer"]}
        for asked, answered in list(zip(base["samples"], lora["samples"]))[: results["n_shown"]]
    ]
    right = sum(is_exact(sample) for sample in lora["samples"][: len(shown)])
    exact = {name: percent(results[name]["slot_exact"]) for name in ("base", "LoRA", "full fine-tuning")}
    merging, n = results["merging"], len(lora["samples"])
    speed = {name: f"{s['median']:,.0f}" for name, s in merging["tokens_per_second"].items()}
    return {
        "demo-table": fenced(table(results)),
        "demo-samples": fenced(samples(results)),
        "demo-short": fenced(listed(shown, ("prompt", "base", "LoRA"))),
        "demo-time": wrapped(
            f"It took {minutes(results)} on two cores of an {processor(results)}, and {minutes(elsewhere)} on two of",
            f"an {processor(elsewhere)}. The first of its {n} test prompts (`{results['command']}`, seed 0):",
        ),
        "demo-result": wrapped(
            f"A parser finds {of_them(right, len(shown))} of LoRA's sentences exactly right here: every attribute is",
            f"stated once, and nothing else. Of all {n}, {exact['LoRA']} are right with LoRA, which trains",
            f"{lora['trainable']:,} numbers, {exact['full fine-tuning']} with full fine-tuning, which trains",
            f"{full['trainable']:,}, and {exact['base']} without training. On the {processor(elsewhere)}, whose",
            "products round differently, the same run ended at",
            f"{percent(elsewhere['LoRA']['slot_exact'])} with LoRA and",
            f"{percent(elsewhere['full fine-tuning']['slot_exact'])} with full fine-tuning: one run does not tell",
            "which of them is better.",
        ),
        "demo-merging": wrapped(
            f"The demonstration also merges the adapter into W: {merging['same_answers']} of {merging['answers']}",
            "answers",
            f"stay the same. Merged, it makes {speed['LoRA, merged']} tokens per second, where the base makes",
            f"{speed['base']} and LoRA beside W {speed['LoRA']}: medians of short runs, whose spread is as large as",
            "their differences.",
        ),
    }


def processor(results):
    """The processor's make, in two words."""
    return " ".join(results["processor"].replace("(R)", "").split()[:2])


def percent(fraction):
    """A fraction in percent."""
    return f"{100 * fraction:.0f} %"


def minutes(result):
    """How long it took."""
    return f"{result['seconds'] / 60:.0f} minutes"


def of_them(right, n):
    """How many of n, in words."""
    return {0: "none", n: "both" if n == 2 else f"all {n}"}.get(right, f"{right} of {n}")


def language_model(results):
    """The blocks about SmolLM2, from its demo.json."""
    lora, full = results["LoRA"], results["full fine-tuning"]
    settings, train = lora["config"]["settings"], lora["config"]["train"]
    right, of_full = (f"{sum(map(is_exact, row['samples']))}" for row in (lora, full))
    n = len(lora["samples"])
    return {
        "smollm2-table": fenced(table(results)),
        "smollm2-result": wrapped(
            f"LoRA of rank {settings['rank']} on all {len(settings['targets'])} matrices of each block,",
            f"{train['steps']} steps of {train['batch_size']} examples of mini-E2E: {right} of {n} test sentences",
            f"state every attribute once and nothing else, and {of_full} after full fine-tuning. LoRA trains",
            f"{lora['percent']:.1f} % as many numbers, in {lora['file']['bytes'] / 1e6:.0f} MB instead of",
            f"{full['file']['bytes'] / 1e6:.0f} (`{results['command']}`,",
            "[demo.json](../figures/smollm2/demo.json); one seed; the seconds are those of two cores with other work).",
        ),
        "smollm2-samples": fenced(samples(results)),
        "smollm2-short": wrapped(
            f"On mini-E2E, {train['steps']} steps of {train['batch_size']} examples took {minutes(lora)} on two busy",
            f"cores. Then {right} of {n} test sentences are exactly right; full fine-tuning, which trains",
            f"{full['trainable'] / lora['trainable']:.0f} times as many numbers, gets {of_full}.",
        ),
    }


def methods_on_language_model(results):
    """The blocks about the methods that were compared on SmolLM2, from its table3.json."""
    methods, training = results["results"]["methods"], results["config"]["training"]
    rows = [("", "trainable", "exact, %", "BLEU")]
    for label, row in methods.items():
        rows.append((label, f"{row['trainable']:,}", plus_minus(row["slot_exact"], 0, 100), plus_minus(row["bleu"], 1)))
    return {
        "smollm2-methods": wrapped(
            f"One run tells little. With {len(training['seeds'])} seeds, and {training['steps']} steps of",
            f"{training['batch_size']} examples (`{results['command']}`):",
        ),
        "smollm2-methods-table": fenced(aligned(rows)),
    }


def assets(recipe, adapter):
    """The blocks about what is bundled, from the decoder's recipe and the adapter's record."""
    ours, gzips = recipe["bits_per_byte"]["test"], recipe["gzip_bits_per_byte"]["test"]
    valid, train = adapter["valid"], adapter["train"]
    right, n = sum(map(is_exact, valid["samples"])), len(valid["samples"])
    return {
        "ablations": fenced(reader_ablations.table_lines(recipe["ablations"]["rows"])),
        "decoder": wrapped(f"It needs {ours:.2f} bits per byte on held-out prose, where gzip needs {gzips:.2f}."),
        "adapter": wrapped(
            f"The adapter that comes with minilora was trained longer, {train['steps']:,} steps of",
            f"{train['batch_size']}",
            f"(`{adapter['command']}`): {right} of {n} sentences of the valid split",
            f"({percent(valid['slot_exact'])}) are",
            f"exactly right, at a slot error rate of {percent(valid['slot_error_rate'])}.",
        ),
    }


def speed(*results):
    """The README's line on speed, from the benchmarks' results."""
    all_of = {part: [of["lora"] for made in results for of in made[part].values()] for part in PARTS}
    step, tokens = (span([of["ratio"]["median"] for of in all_of[part]], ".1f") for part in ("train", "generate"))
    memory = span([100 * of["minilora"]["step"] / of["torch"]["step"] for of in all_of["memory"]], ".0f")
    return {
        "speed-line": wrapped(
            f"Next to PyTorch eager with PEFT on the same two cores, a LoRA step is {step} times as fast, and",
            "generating",
            f"{tokens} times, at {memory} % of its memory: five sizes up to SmolLM2, medians, float32.",
            "`minilora bench --against torch` measures it on your machine.",
        )
    }


def span(values, form):
    """The smallest and the largest of some numbers."""
    return f"{min(values):{form}} to {max(values):{form}}"


def blocks(repository=None):
    """The lines of each block, by the name in its comment."""
    repository = address() if repository is None else repository
    adapter = json.loads(bundled_adapter().with_suffix(".json").read_text(encoding="utf-8"))
    return {
        "badges": badges(repository),
        "clone": wrapped(f"With Python 3.11 or newer, make and python3-venv, in a clone of {of(repository)}:"),
        **demonstration(read("demo/demo.json"), read("demo/demo_epyc.json")),
        **language_model(read("smollm2/demo.json")),
        **methods_on_language_model(read("smollm2/table3.json")),
        "merging-table": fenced(merging_quantized.table_lines(read("smollm2/merging.json")["rows"])),
        **assets(bundled_recipe(), adapter),
        **speed(*(read(f"bench/{folder}bench.json") for folder in ("", "gpt2-small/", "smollm2/bench/"))),
    }


def wrapped(*parts):
    """A paragraph, in lines that can be compared."""
    return textwrap.wrap(" ".join(parts), 120, break_long_words=False, break_on_hyphens=False)


def of(repository):
    """The repository, with the command that clones it if its address is known."""
    return f"[this repository]({repository}) (`git clone {repository}`)" if repository else "this repository"


def fenced(lines):
    """Lines as a block of text."""
    return ["```text", *"\n".join(lines).rstrip().split("\n"), "```"]


BLOCK = re.compile(r"^<!-- ([\w-]+) -->\n(?:```text\n.*?^```\n|(?:[^\n]+\n)*)", re.DOTALL | re.MULTILINE)


def filled(page, texts):
    """A page with other text behind its comments, each up to an empty line or the end of its block of text."""

    def block(match):
        return "\n".join([f"<!-- {match[1]} -->", *texts[match[1]]]) + "\n" if match[1] in texts else match[0]

    return BLOCK.sub(block, page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8"), blocks()), encoding="utf-8")
