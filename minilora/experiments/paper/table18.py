"""Table 18: the rank against the validation loss, on mini-E2E."""

from dataclasses import dataclass, field

from minilora.experiments.claims import Claim, paper
from minilora.experiments.comparison import plus_minus, rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.bases import ON_ATTENTION
from minilora.experiments.paper.mini_e2e import HERE, LORA_RATES, QUICK, Training, rates_line, summary, train_all
from minilora.experiments.text_scores import need_text_scores
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, no_worse, paired

PAPER = {  # GPT-2 medium, E2E, 26,000 steps: validation loss, BLEU, NIST, METEOR
    1: (1.23, 68.72, 8.7215, 45.65),
    2: (1.21, 69.17, 8.7413, 45.90),
    4: (1.18, 70.38, 8.8439, 46.89),
    8: (1.17, 69.57, 8.7457, 46.36),
    16: (1.16, 69.61, 8.7483, 46.29),
    32: (1.16, 69.33, 8.7736, 46.42),
    64: (1.16, 69.24, 8.7174, 46.51),
    128: (1.16, 68.73, 8.6718, 46.28),
}
SCORES = {"valid": (3, 1), "bleu": (1, 1), "nist": (2, 1), "meteor": (1, 100), "slot_exact": (1, 100)}  # digits, factor


@dataclass(frozen=True)
class Config:
    """The ranks, and the learning rates to try for each."""

    training: Training = field(default_factory=Training)
    ranks: tuple[int, ...] = (1, 2, 4, 8, 16, 64)
    rates: tuple[float, ...] = LORA_RATES

    def __post_init__(self):
        if len(set(self.ranks)) < max(2, len(self.ranks)):
            raise ValueError(f"ranks was {self.ranks}; it must be at least 2 different numbers")


def on(base):
    """The Config on another base."""
    return Config(
        base.training, base.possible(base.ranks or Config.ranks), base.rates_of("lora", LORA_RATES, ON_ATTENTION)
    )


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    need_text_scores()
    settings = {str(rank): config.training.lora(rank) for rank in config.ranks}
    found = train_all(sweep, settings, dict.fromkeys(settings, config.rates), config.training.seeds)
    return {"ranks": {rank: summary(of_rank) for rank, of_rank in found.items()}}


def table(results):
    lines = [("r", "trainable", "lr", "valid loss", "BLEU", "NIST", "METEOR", "exact, %", "paper: loss and scores")]
    for rank, row in results["ranks"].items():
        ours = (plus_minus(row[name], digits, factor) for name, (digits, factor) in SCORES.items())
        paper = " / ".join(map(str, PAPER.get(int(rank), ("-",))))
        lines.append((rank, f"{row['trainable']:,}", rate(row), *ours, paper))
    return [
        *aligned(lines),
        "",
        "valid loss: ours in nats per byte, the paper's in nats per token. The scores as in table 3.",
        *rates_line(results["ranks"].values(), "rank"),
    ]


TENTH = 0.1  # what may be left to gain above the rank at which the loss has stopped falling


def losses(rows, *ranks):
    """The valid losses of each rank, by seed; None if a rank was not trained."""
    if any(str(rank) not in rows for rank in ranks):
        return None
    return [rows[str(rank)]["valid"]["values"] for rank in ranks]


def rank_1_against_16(results):
    found = losses(results["ranks"], 1, 16)
    return found and [paired("loss at r = 1 above that at r = 16", *found)]


def left_to_gain(results):
    """A tenth of what the loss falls from rank 1 to 16, above what it falls from there to the highest rank."""
    rows = results["ranks"]
    highest = max(map(int, rows))
    found = losses(rows, 1, 16, highest) if highest > 16 else None
    if found is None:
        return None
    allowed = [TENTH * (low - middle) for low, middle, _ in zip(*found, strict=True)]
    gained = [middle - high for _, middle, high in zip(*found, strict=True)]
    return [paired(f"a tenth of the gain up to r = 16, above the gain from there to r = {highest}", allowed, gained)]


def rank_4_against_others(results):
    bleu = {rank: row["bleu"]["values"] for rank, row in results["ranks"].items()}
    if "4" not in bleu:
        return None
    return [paired(f"r = 4 against r = {rank}", bleu["4"], values) for rank, values in bleu.items() if rank != "4"]


CLAIMS = (
    Claim(
        "table18.rank-1",
        "A rank of 1 is not enough: the validation loss is lower at 16",
        paper("table 18", "Unlike on GPT-3 where r = 1 suffices for many tasks, here the performance peaks at r = 16"),
        better("nats per byte"),
        rank_1_against_16,
    ),
    Claim(
        "table18.saturates",
        "From rank 16 on more rank gives hardly a lower loss: less than a tenth of what the first 16 gave",
        paper("table 18", "the performance peaks at r = 16 for validation loss"),
        better("nats per byte"),
        left_to_gain,
        "The change that the task needs has a higher rank in this decoder, or a high rank is merely faster in so few "
        "steps; these runs cannot tell the two apart.",
    ),
    Claim(
        "table18.bleu",
        "BLEU is best at rank 4: no other is better",
        paper("table 18", "the performance peaks at ... r = 4 for BLEU"),
        no_worse(0.77, "BLEU", "the least by which r = 4 leads in the paper's table"),
        rank_4_against_others,
        "The paper's best rank is the one whose loss had nearly stopped falling, after 26,000 steps; here the loss "
        "has not stopped falling when training ends.",
    ),
)


def plot(results):
    from minilora import plots

    def curve(score):
        return {"LoRA": [(int(rank), row[score]["values"]) for rank, row in results["ranks"].items()]}

    panels = {"validation loss (nats per byte)": curve("valid"), "BLEU on test": curve("bleu")}
    return plots.seed_curves(panels, xlabel="rank $r$", xscale="log2")


EXPERIMENT = Experiment(
    name="table18",
    title="Rank against validation loss",
    about="The paper adapts GPT-2 medium to E2E with LoRA on W_q and W_v at ranks from 1 to 1,024. Here {base} "
    "is adapted to mini-E2E at each rank, with the same alpha at all of them: {terms}.",
    config=Config(),
    quick=Config(QUICK, ranks=(1, 4), rates=(1e-2,)),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
    here=HERE,
    on=on,
)
