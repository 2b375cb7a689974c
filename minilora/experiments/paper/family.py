"""LoRA's family at one budget: every method that came after it, on mini-E2E, and whether the order agrees with PEFT's.

The methods are compared by BLEU, as in table 3. In so few steps most of them write next to no sentence that is right
altogether, so that the share of these could not tell them apart; it stands in the table as well.
"""

from dataclasses import dataclass, fields, replace

from minilora.experiments.adapt import DecoderRun
from minilora.experiments.claims import Claim, Fact, later, own
from minilora.experiments.comparison import plus_minus, rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.mini_e2e import HERE, QUICK, Training, rates_line, summary, train_all
from minilora.experiments.paper.table3 import NO_WORSE, SCORES
from minilora.experiments.rates import OF_TEXTS
from minilora.experiments.spearman import chance_of, spearman
from minilora.experiments.text_scores import need_text_scores
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, paired
from minilora.methods import METHODS, LoRAConfig, PromptTuningConfig, TrainableTokensConfig
from minilora.training import GaLore

LORA = "lora"
# What the LoRA paper compares with, in table 3 here, and what is two methods at once; all others are in the family.
OTHERS = ("top-k", "bitfit", "random-subspace")
OTHER_KINDS = ("adapter-", "prefix-", "lora+")
# As many trained numbers as LoRA of rank 8: B alone has half of them, and so has a row of the embedding for each byte
# of ASCII. VeRA, IA3 and prompt tuning have their own defaults, which train less: that is what they are for.
SETTINGS = {
    "lora-fa": LoRAConfig(rank=16, alpha=16, freeze_A=True),
    "trainable-tokens": TrainableTokensConfig(tokens=tuple(range(128))),
    "prompt-tuning": PromptTuningConfig(length=12),  # 20, the usual, do not fit next to the longest example
}
EMBEDDING, GALORE = "lora, embedding too", "galore"  # what is no name in METHODS
TITLES = {  # in table and figure
    LORA: "LoRA",
    "rslora": "rsLoRA",
    "dora": "DoRA",
    "pissa": "PiSSA",
    "lora-fa": "LoRA-FA",
    "lora-ga": "LoRA-GA",
    "full": "full fine-tuning",
    "prompt-tuning": "prompt tuning",
    "ia3": "IA3",
    "trainable-tokens": "trainable tokens",
    "vera": "VeRA",
    "adalora": "AdaLoRA",
    EMBEDDING: "LoRA, embedding too",
    GALORE: "GaLore",
}
# The middle one of three rates, where a method's usual one was at the edge of what it needs here; tried to one digit.
RATES = {
    LORA: 6e-2,
    "pissa": 4.5e-2,
    "lora-fa": 1.8e-1,
    "lora-ga": 4.5e-2,
    "ia3": 2.7e-1,
    "trainable-tokens": 3e-2,
    "vera": 3e-1,
    "adalora": 6e-2,
    EMBEDDING: 6e-2,
    GALORE: 2.4e-2,
}
PEFTS = "https://github.com/huggingface/peft/tree/main/method_comparison"
# Test accuracy of Llama 3.2 3B on GSM8K after 5,000 steps on MetaMathQA, in July 2026; the best of a method's settings,
# of LoRA's and its variants' those on the attention, as here.
PUBLISHED = {
    "rslora": 0.5133,
    "lora": 0.4784,
    "full": 0.4716,
    "dora": 0.4693,
    "ia3": 0.4549,
    "lora-fa": 0.4041,
    "adalora": 0.3730,
    "vera": 0.3541,
    "prompt-tuning": 0.3434,
    "trainable-tokens": 0.2456,
}


@dataclass(frozen=True)
class GaLoreRun(DecoderRun):
    """Full fine-tuning whose optimizer keeps its state in few directions, `galore_rank` of them in each matrix."""

    galore_rank: int = 8

    def optimizer(self, model):
        """GaLore, as `DecoderRun.optimizer`."""
        return GaLore(model.parameters(), self.train.lr, rank=self.galore_rank)


def family():
    """The labels of what is compared: names of METHODS, LoRA with the embedding adapted too, and GaLore."""
    names = (name for name in METHODS if name not in OTHERS and not name.startswith(OTHER_KINDS))
    return (*names, EMBEDDING, GALORE)


def run_of(training, label):
    """The DecoderRun of a label."""
    if label == GALORE:
        full = training.of("full")
        return GaLoreRun(**{f.name: getattr(full, f.name) for f in fields(full)})
    if label == EMBEDDING:  # at rank 7 as many numbers, too
        return training.of(LORA, LoRAConfig(rank=7, alpha=7, targets=("q_proj", "v_proj", "wte")))
    return training.of(label, SETTINGS.get(label))


@dataclass(frozen=True)
class Config:
    """What is compared.

    Parameters
    ----------
    training : Training
    methods : sequence of str
        Of `family()`, LoRA among them.
    n_rates : int
        How many learning rates to try for each: the usual one, three times, and a third of it.
    """

    training: Training = Training(steps=200)
    methods: tuple[str, ...] = family()
    n_rates: int = 3

    def __post_init__(self):
        if LORA not in self.methods or not set(self.methods) <= set(family()) or len(self.methods) < 2:
            raise ValueError(f"methods was {self.methods}; it must be 'lora' and any others of {', '.join(family())}")
        if self.n_rates not in (1, 2, 3):
            raise ValueError(f"n_rates was {self.n_rates!r}; it must be 1, 2 or 3")

    def rates_of(self, label):
        """The learning rates to try for a method, the usual one first."""
        usual = (OF_TEXTS | RATES)[label]
        return tuple(float(f"{usual * factor:.1g}") for factor in (1, 3, 1 / 3))[: self.n_rates]


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    need_text_scores()
    settings = {name: run_of(config.training, name) for name in config.methods}
    rates = {name: config.rates_of(name) for name in config.methods}
    found = train_all(sweep, settings, rates, config.training.seeds)
    return {"methods": {name: summary(row) for name, row in found.items()}}


def both_orders(results):
    """The scores here and PEFT's of the methods that both have, by name."""
    rows = results["methods"]
    return {n: (rows[n]["bleu"]["mean"], score) for n, score in PUBLISHED.items() if n in rows}


def agreement(results):
    """Spearman's coefficient with PEFT's order, and how likely a drawn order has one as high; None if there is none."""
    both = list(both_orders(results).values())
    if len(both) < 3 or len({ours for ours, _ in both}) == 1:
        return None
    ours, theirs = zip(*both, strict=True)
    return spearman(ours, theirs), chance_of(ours, theirs)


COLUMNS = ("valid", "test", "bleu", "slot_exact", "slot_error_rate")


def table(results):
    rows = results["methods"]
    lines = [("", "trainable", "lr", "valid loss", "test loss", "BLEU", "exact, %", "SER, %", "PEFT's, %")]
    for name in sorted(rows, key=lambda name: -rows[name]["bleu"]["mean"]):
        row = rows[name]
        ours = (plus_minus(row[score], *SCORES[score]) for score in COLUMNS)
        theirs = f"{100 * PUBLISHED[name]:.1f}" if name in PUBLISHED else "-"
        lines.append((TITLES[name], f"{row['trainable']:,}", rate(row), *ours, theirs))
    found = agreement(results)
    says = "none: too few methods, or all scores are equal" if found is None else "{:+.2f}, p = {:.2g}".format(*found)
    return [
        *aligned(lines),
        "",
        *rates_line(rows.values(), "method"),
        "Losses in nats per byte. exact: answers that say every attribute once and nothing else; SER: slot error rate;",
        "trainable: of AdaLoRA before pruning. PEFT's: accuracy of Llama 3.2 3B on GSM8K.",
        f"Spearman's coefficient of BLEU with PEFT's, over {len(both_orders(results))} methods: {says}",
        "(p: of a drawn order with one as high). There is no such table in the paper.",
    ]


def beside_lora(name):
    """`Claim.compare`: a method's BLEU against LoRA's, seed by seed; nothing if it was not run."""

    def compare(results):
        rows = results["methods"]
        if name not in rows:
            return None
        bleu = (rows[method]["bleu"]["values"] for method in (name, LORA))
        return [paired(f"{TITLES[name]} against {TITLES[LORA]}", *bleu)]

    return compare


def same_order(results):
    found = agreement(results)
    if found is None:
        return None
    rho, p = found
    return Fact(rho > 0 and p <= 0.05, f"{rho:+.2f} over {len(both_orders(results))} methods, p = {p:.2g}")


CLAIMS = (
    Claim(
        "family.order",
        "The order of the methods agrees with PEFT's own",
        own(f"PEFT's method comparison, {PEFTS}"),
        "Spearman's coefficient is above 0, and a drawn order has one as high with a probability of at most 5 %",
        same_order,
        "There, a model of 3 billion numbers that reads English well is taught to reason; here, one of 2 million has "
        "to learn sentences that are new to it, which methods that train few numbers cannot teach it.",
    ),
    Claim(
        "family.vera",
        "VeRA is no worse than LoRA, with a fraction of the trained numbers",
        later(
            "Kopiczko et al. (2023), abstract",
            "significantly reduces the number of trainable parameters compared to LoRA, yet maintains the same "
            "performance",
        ),
        NO_WORSE,
        beside_lora("vera"),
        "A task that is new to the base needs more than scaling what is drawn.",
    ),
    Claim(
        "family.lora-fa",
        "LoRA-FA is no worse than LoRA with as many trained numbers",
        own("Zhang et al. (2023), LoRA-FA"),
        NO_WORSE,
        beside_lora("lora-fa"),
    ),
    Claim(
        "family.adalora",
        "AdaLoRA is better than LoRA of the rank that it ends with",
        own("Zhang et al. (2023), AdaLoRA"),
        better("BLEU"),
        beside_lora("adalora"),
        "Its schedule takes a tenth of the steps before it prunes, and few steps are left.",
    ),
    Claim(
        "family.lora-ga",
        "LoRA-GA is better than LoRA in the same steps",
        own("Wang et al. (2024), LoRA-GA"),
        better("BLEU"),
        beside_lora("lora-ga"),
    ),
    Claim(
        "family.dora",
        "DoRA is better than LoRA of the same rank",
        own("Liu et al. (2024), DoRA"),
        better("BLEU"),
        beside_lora("dora"),
    ),
)


def plot(results):
    from minilora import plots

    rows = results["methods"]

    def panel(score):
        return {TITLES[name]: (row["trainable"], row[score]["values"]) for name, row in rows.items()}, {}

    panels = {"BLEU": panel("bleu"), "loss (nats per byte)": panel("test")}
    return plots.scores(panels, xlabel="on mini-E2E's test")


EXPERIMENT = Experiment(
    name="family",
    title="LoRA's family at one budget",
    about="Not in the paper: what came after LoRA. Here {base} is adapted to mini-E2E by each method, with about as "
    "many trained numbers as LoRA of rank 8 on W_q and W_v, where the method can have them: {terms}. PEFT has compared "
    "most of them on a large model. Is the order the same?",
    config=Config(),
    quick=Config(replace(QUICK, seeds=(0, 1)), methods=("lora", "lora-ga", "vera", "adalora", GALORE), n_rates=1),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
    here=HERE,
)
