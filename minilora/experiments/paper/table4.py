"""Table 4: GPT-3 175B, by formula. It is not trained here; what can be checked is what each row trains and stores."""

from dataclasses import dataclass

from minilora.accounting import ARCHITECTURES, PUBLISHED, adaptation, checkpoint_bytes, flops_per_token, memory_estimate
from minilora.experiments.claims import Claim, Fact, own, paper
from minilora.experiments.experiment import Experiment
from minilora.experiments.text_table import aligned

GPT3 = "gpt3-175b"
PAPER_RANK = 4  # "10,000 times" is said of W_q and W_v with this rank (section 4.2)
SCORES = {  # the paper's: WikiSQL, MNLI-m, SAMSum R1
    "FT": (73.8, 89.5, 52.0),
    "BitFit": (71.3, 91.0, 51.3),
    "PreEmbed": (63.1, 88.6, 48.3),
    "PreLayer": (70.1, 89.5, 50.8),
    "Adapter^H, r = 1": (71.9, 89.8, 53.0),
    "Adapter^H, r = 8": (73.2, 91.5, 53.2),
    "LoRA, r = 1": (73.4, 91.7, 53.8),
    "LoRA, r = 8": (74.0, 91.6, 53.4),
}


@dataclass(frozen=True)
class Config:
    """The training step whose memory and operations are counted: N sequences of T tokens; the paper used T <= 2048."""

    batch_size: int = 1
    length: int = 2048
    optimizer: str = "adamw"


def run(config, sweep):
    """Every row, counted; arguments and result are those of `Experiment.run`. There is nothing to sweep."""
    architecture = ARCHITECTURES[GPT3]
    shape = {"batch_size": config.batch_size, "length": config.length, "optimizer": config.optimizer}
    full = adaptation(architecture, "full")
    rows = {}
    for name, row in zip(SCORES, (row for row in PUBLISHED if row.table == 4), strict=True):
        rows[name] = {
            "published_millions": row.figure,
            "trainable": row.ours,
            "verdict": row.verdict,
            "reason": row.reason,
            "checkpoint_bytes_float16": checkpoint_bytes(row.adaptation, 2),
            "memory_bytes": memory_estimate(architecture, row.adaptation, **shape)._asdict(),
            "training_flops": flops_per_token(architecture, row.adaptation, config.length).training
            / flops_per_token(architecture, full, config.length).training,
        }
    return {"rows": rows}


def at_paper_rank(results):
    """What LoRA trains at the rank of which "10,000 times" is said, and how many times less that is than full's."""
    rows = results["rows"]
    trainable = PAPER_RANK * rows["LoRA, r = 1"]["trainable"]  # A and B grow with the rank
    return trainable, rows["FT"]["trainable"] / trainable


def table(results):
    """Parameters next to the paper's, sizes of files and memory, and the paper's scores, which are not checked here."""
    lines = [("", "paper, M", "ours", "verdict", "file, MB", "memory, GB", "operations", "WikiSQL", "MNLI", "R1")]
    for name, row in results["rows"].items():
        memory = sum(row["memory_bytes"].values()) / 1e9
        numbers = (f"{row['checkpoint_bytes_float16'] / 1e6:,.1f}", f"{memory:,.0f}", f"{row['training_flops']:.2f}")
        scores = (f"{score:.1f}" for score in SCORES[name])
        lines.append((name, row["published_millions"], f"{row['trainable']:,}", row["verdict"], *numbers, *scores))
    lora, fewer = at_paper_rank(results)
    return [
        *aligned(lines),
        "",
        f"LoRA, r = {PAPER_RANK} on W_q, W_v: {lora:,} parameters, {fewer:,.0f} times fewer; {2 * lora / 1e6:.1f} MB.",
        'The paper has a checkpoint of 35 MB for it, smaller by "roughly 10,000x" (section 4.2).',
        "file: in float16. memory: of a step with Adam in float32, with activations. operations: a fraction of full's.",
        "The three scores are the paper's.",
    ]


def fewer_parameters(results):
    fewer = at_paper_rank(results)[1]
    return Fact(abs(fewer / 10_000 - 1) <= 0.1, f"{fewer:,.0f} times, with the paper's r = {PAPER_RANK}")


def less_memory(results):
    full, lora = (sum(results["rows"][name]["memory_bytes"].values()) for name in ("FT", "LoRA, r = 8"))
    return Fact(full >= 3 * lora, f"{full / lora:.2f} times less: weights, gradients, Adam's state and activations")


def counts_agree(results):
    rows = results["rows"]
    others = [name for name, row in rows.items() if row["verdict"] == "not reconcilable"]
    left = f"; not for {', '.join(others)}" if others else ""
    return Fact(not others, f"it does for {len(rows) - len(others)} of {len(rows)} rows{left}")


CLAIMS = (
    Claim(
        "table4.parameters",
        "LoRA trains 10,000 times fewer parameters",
        paper("section 4.2", "the checkpoint size is reduced by roughly 10,000x (from 350GB to 35MB)"),
        "between 9,000 and 11,000 times, for r = 4 on W_q and W_v",
        fewer_parameters,
        note='The abstract says "10,000 times" of the parameters; both files are in half precision, which is the same.',
    ),
    Claim(
        "table4.memory",
        "LoRA needs a third of the memory",
        paper("abstract", "and the GPU memory requirement by 3 times"),
        "at least 3 times less",
        less_memory,
        note="The paper's 1.2 TB and 350 GB count weights and Adam's state; ours is another sum with a like ratio.",
    ),
    Claim(
        "table4.counts",
        "Every count of parameters in the paper's table follows from the shapes",
        own(),
        "no row is left over",
        counts_agree,
        "For the others see `minilora count published`.",
    ),
)


def plot(results):
    from minilora import plots

    methods = {}
    for name, row in results["rows"].items():  # "LoRA, r = 1" and "LoRA, r = 8" are two sizes of LoRA
        methods.setdefault(name.split(",")[0], []).append((row["trainable"], [SCORES[name][0]]))
    return plots.parameters_against_score(methods, ylabel="WikiSQL accuracy (%), as the paper prints it")


EXPERIMENT = Experiment(
    name="table4",
    title="GPT-3 175B, by formula",
    about="The paper adapts GPT-3 175B by six methods. Here every row is counted: parameters, file, memory and "
    "operations of a step. The scores are the paper's own.",
    config=Config(),
    quick=Config(),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
)
