"""Table 18: the rank against the validation loss, on mini-E2E."""

from dataclasses import dataclass, field

from minilora.experiments.comparison import above, plus_minus, rate
from minilora.experiments.experiment import Claim, Experiment
from minilora.experiments.paper.mini_e2e import HERE, LORA_RATES, QUICK, Training, rates_line, summary, train_all
from minilora.experiments.text_scores import need_text_scores
from minilora.experiments.text_table import aligned

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
    return Config(base.training, base.ranks_of(Config.ranks), base.rates_of("lora", LORA_RATES))


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


def claims(results):
    rows = results["ranks"]
    best = min(rows, key=lambda rank: rows[rank]["valid"]["mean"])
    best_bleu = max(rows, key=lambda rank: rows[rank]["bleu"]["mean"])
    lowest, highest = min(rows, key=int), max(rows, key=int)
    four = "4" if "4" in rows else lowest
    saturated = [rank for rank in rows if 16 <= int(rank) < int(highest)] or [best]

    def loss(rank):
        return f"r = {rank}: {plus_minus(rows[rank]['valid'], 3)}"

    return [
        Claim(
            f"The validation loss falls with the rank at first: rank {lowest} is not enough",
            above(rows[lowest]["valid"], rows[best]["valid"]),
            f"{loss(lowest)}; the best, {loss(best)}",
            "The adaptation that so few steps can make has hardly more than one direction in each matrix.",
        ),
        Claim(
            f"From rank {saturated[0]} on more rank gives no lower loss",
            not above(rows[saturated[0]]["valid"], rows[highest]["valid"]),
            f"{loss(saturated[0])}; {loss(highest)}",
            "The decoder has read nothing like this task, so that the change that it needs has a higher rank, or a "
            "high rank is merely faster in so few steps; these runs cannot tell the two apart.",
        ),
        Claim(
            f"BLEU is best at a rank as small as {four}",
            not above(rows[best_bleu]["bleu"], rows[four]["bleu"]),
            f"r = {four}: {plus_minus(rows[four]['bleu'], 1)}; "
            f"the best, r = {best_bleu}: {plus_minus(rows[best_bleu]['bleu'], 1)}",
            "The paper's best rank is the one whose loss had just stopped falling, after 26,000 steps; here the loss "
            "has not stopped falling when training ends.",
        ),
    ]


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
    claims=claims,
    here=HERE,
    on=on,
)
