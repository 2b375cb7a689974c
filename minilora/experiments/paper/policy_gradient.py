"""Policy gradients: how large a rank does learning from rewards need?"""

from dataclasses import dataclass, field, replace

from minilora.experiments.adapt import HELD_OUT, DecoderRun, adapt_and_keep, adapted_decoder, base_and_task
from minilora.experiments.claims import WITHOUT_REGRET, Claim, Fact, later, own
from minilora.experiments.comparison import best_of_rates, check_seeds, mean_and_spread, plus_minus, rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.mini_e2e import ALPHA
from minilora.experiments.reinforce import ReinforceConfig, measured, reinforce
from minilora.experiments.targets import OF_GPT
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, no_worse, of_values, paired
from minilora.methods import FullConfig, LoRAConfig
from minilora.training import TrainConfig

FULL, RANK_1 = "full fine-tuning", "LoRA, r = 1"


@dataclass(frozen=True)
class Config:
    """The first training, which all share, and the second one, from rewards, with the learning rates to try.

    Parameters
    ----------
    start : TrainConfig
        Of the supervised training.
    train : TrainConfig
        Of the training from rewards; lr and seed are chosen below.
    reward : str
        See `minilora.experiments.reinforce.REWARDS`.
    n_samples : int
        Answers to each prompt.
    ranks : sequence of int
    seeds : sequence of int
    full, lora : sequence of float
        The learning rates to try, the same number for each.
    n_held_out : int
        Examples in valid and in test.
    """

    start: TrainConfig = field(default_factory=lambda: TrainConfig(steps=900, batch_size=8, lr=2e-3, threads=1))
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=50, batch_size=64, schedule="constant", warmup=0.0, threads=1, eval_every=25
        )
    )
    reward: str = "exact"
    n_samples: int = 8
    ranks: tuple[int, ...] = (1, 8)
    seeds: tuple[int, ...] = (0, 1, 2)
    full: tuple[float, ...] = (3e-5, 1e-4, 3e-4)
    lora: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    n_held_out: int = HELD_OUT

    def __post_init__(self):
        check_seeds(self.seeds)

    def settings(self):
        """The ReinforceConfig of each method, by label."""
        start = DecoderRun("mini-e2e", "full", None, self.start, n_held_out=self.n_held_out)
        common = {"train": self.train, "reward": self.reward, "n_samples": self.n_samples}
        full = ReinforceConfig(start, "full", FullConfig(), **common)
        lora = {
            f"LoRA, r = {r}": replace(full, method="lora", settings=LoRAConfig(rank=r, alpha=ALPHA, targets=OF_GPT))
            for r in self.ranks
        }
        return {**lora, FULL: full}


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    settings = config.settings()
    start = settings[FULL].start
    sweep(adapt_and_keep, [start], model="decoder")
    before = measured(adapted_decoder(sweep, start), base_and_task(start)[1], settings[FULL])
    rates = {label: config.full if label == FULL else config.lora for label in settings}
    found = best_of_rates(
        sweep, reinforce, settings, rates, seeds=config.seeds, score=lambda run: run["valid"], model="decoder"
    )
    methods = {label: summary(of_method) for label, of_method in found.items()}
    episodes = config.train.steps * config.train.batch_size
    return {"reward": config.reward, "episodes": episodes, "before": before, "methods": methods}


def summary(found):
    """The results of one method, for JSON."""
    runs = found["runs"]
    return {
        "trainable": runs[0]["trainable"],
        "lr": found["lr"],
        "valid_by_lr": found["valid_by_lr"],
        "bits": mean_and_spread([run["bits"] for run in runs]),
        "paths": [run["path"] for run in runs],
        "drawn": [run["drawn"] for run in runs],
        "test": {name: mean_and_spread([run["test"][name] for run in runs]) for name in runs[0]["test"]},
    }


COLUMNS = ("expected", "reward", "slot_error_rate")


def table(results):
    before = (f"{100 * results['before'][name]:.1f}      " for name in COLUMNS)
    lines = [
        ("", "trainable", "lr", "reward, drawn, %", "greedy, %", "slot errors, %", "bits, at most"),
        ("before", "", "", *before, ""),
    ]
    for label, row in results["methods"].items():
        after = (plus_minus(row["test"][name], factor=100) for name in COLUMNS)
        lines.append((label, f"{row['trainable']:,}", rate(row), *after, f"{row['bits']['mean']:,.0f}"))
    return [
        *aligned(lines),
        "",
        f"Answers to test's prompts, before and after {results['episodes']:,} episodes. Reward: {results['reward']}.",
        "drawn: at temperature 1, as those learned from; their mean reward is what REINFORCE maximises.",
        "greedy: the most likely token at each place; slot errors: of these answers.",
        "bits: the entropy of each step's rewards, times its episodes, summed.",
        "lr: the best of equally many, by drawn answers on valid with the first seed (*: the lowest or highest).",
        "There is no such table in the paper.",
    ]


NO_WORSE = no_worse(5.0, "points", "five answers in a hundred are what a reader would notice")


def learns(results):
    before = results["before"]["expected"]
    return [
        of_values(f"{label}, after less before", [100 * (value - before) for value in expected(row)])
        for label, row in results["methods"].items()
    ]


def expected(row):
    """The mean reward of the answers that each seed's model draws at the end, on test."""
    return row["test"]["expected"]["values"]


def ranks_beside_full(results):
    rows = results["methods"]
    return [
        paired(f"{label} against {FULL}", expected(row), expected(rows[FULL]), factor=100)
        for label, row in rows.items()
        if label != FULL
    ]


def capacity(results):
    row = results["methods"].get(RANK_1)
    if row is None:
        return None
    bits, trainable = row["bits"]["mean"], row["trainable"]
    if not bits:
        return "all rewards were equal, so there was nothing to learn from them"
    return Fact(bits < trainable, f"at most {bits:,.0f} bits in {results['episodes']:,} rewards, {trainable:,} numbers")


CLAIMS = (
    Claim(
        "policy_gradient.learns",
        "REINFORCE makes more of the drawn answers right, with any rank",
        own("without it there is nothing to compare"),
        better("points"),
        learns,
        "If hardly any drawn answer is right, or all are, the advantages are 0.",
        "On the same prompts of test, before and after; answers are drawn.",
    ),
    Claim(
        "policy_gradient.rank-1",
        "Learning from rewards, LoRA of rank 1 is no worse than full fine-tuning, and neither is rank 8",
        later(
            f"{WITHOUT_REGRET}, Reinforcement learning",
            "LoRA fully matches the learning performance of FullFT when running policy gradient algorithms for "
            "reinforcement learning, even with ranks as low as 1",
        ),
        NO_WORSE,
        ranks_beside_full,
        "The steps are few, and each method is at one of three rates.",
        "On test, at the end; answers are drawn.",
    ),
    Claim(
        "policy_gradient.capacity",
        "All rewards together carry fewer bits than rank 1 has numbers",
        later(
            f"{WITHOUT_REGRET}, Reinforcement learning",
            "in policy gradient methods, learning is driven by the advantage function which provides only O(1) bits "
            "per episode",
        ),
        "the entropy of the rewards is below the count of trained numbers",
        capacity,
        note="An upper bound: a reward tells less where its prompt and the answers before it are known.",
    ),
)


def plot(results):
    from minilora import plots

    rows = results["methods"]
    greedy, drawn, ends = {}, {}, {}
    for label, row in rows.items():
        n, last = len(expected(row)), row["paths"][0][-1]["step"]
        ends[label] = [(0, [results["before"]["expected"]] * n), (last, expected(row))]
        points = zip(*row["paths"], strict=True)  # the seeds' measurements at one step
        greedy[label] = [(of_step[0]["step"], [100 * p["slot_exact"] for p in of_step]) for of_step in points]
        drawn[label] = tenths(row["drawn"])
    panels = {"test, drawn: mean reward": ends, "train, drawn: mean reward": drawn, "valid, greedy: right (%)": greedy}
    return plots.seed_curves(panels, xlabel="step")


def tenths(by_seed):
    """Values of each step as (the middle of each tenth of the steps, the mean there of each seed)."""
    steps = len(by_seed[0])
    size = max(1, steps // 10)
    starts = range(0, steps - size + 1, size)
    return [(start + (size + 1) / 2, [sum(row[start : start + size]) / size for row in by_seed]) for start in starts]


SHORT = TrainConfig(steps=2, batch_size=4, threads=1, eval_every=1)
EXPERIMENT = Experiment(
    name="policy_gradient",
    title="Learning from rewards: rank 1, rank 8, and all weights",
    about='Not in the paper: "LoRA Without Regret" (Thinking Machines, 2025) found that policy gradients need hardly '
    "any rank. Here the bundled decoder learns mini-E2E from 900 batches of sentences, and goes on by "
    "REINFORCE: it draws 8 answers to each prompt, the parser says which are right, and nothing else is told. Each "
    "answer's baseline is the mean reward of the other seven (`ops/policy_gradient.py`).",
    config=Config(),
    quick=Config(SHORT, SHORT, n_samples=2, seeds=(0, 1), full=(1e-4,), lora=(1e-3,), n_held_out=4),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
)
