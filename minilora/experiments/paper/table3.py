"""Table 3: every method for decoders, on mini-E2E."""

from dataclasses import dataclass, field, replace

from minilora.experiments.claims import WITHOUT_REGRET, Claim, later, own, paper
from minilora.experiments.comparison import plus_minus, rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.bases import ON_ATTENTION
from minilora.experiments.paper.mini_e2e import ALPHA, HERE, QUICK, Training, rates_line, summary, train_all
from minilora.experiments.targets import ALL_LINEAR
from minilora.experiments.text_scores import need_text_scores
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, no_worse, paired
from minilora.methods import HoulsbyConfig, LoRAConfig, PrefixConfig, TopKConfig

# Learning rates to try: three around each method's best. Prefixes and BitFit take the highest, and learn little at it.
OWN = (1e-3, 3e-3, 1e-2)  # for all weights of the model
ADDED = (3e-3, 1e-2, 3e-2)  # for two of its blocks, and for weights that are added to all matrices or blocks
FEW = (1e-2, 3e-2, 1e-1)  # for few numbers: biases, prefixes, and LoRA on two matrices of a block
FULL, LORA, ALL_LAYERS = "full fine-tuning", "LoRA", "LoRA, all layers"
METHODS = {  # by label: the method, its settings and learning rates; the paper's BLEU, NIST and METEOR, of GPT-2 medium
    FULL: ("full", None, OWN, (68.2, 8.62, 46.2)),
    "FT-top-2": ("top-k", TopKConfig(k=2), ADDED, (68.1, 8.59, 46.0)),
    "Adapter^L, small": ("adapter-l", HoulsbyConfig("lin", size=6), ADDED, (66.3, 8.41, 45.0)),
    "Adapter^L, large": ("adapter-l", HoulsbyConfig("lin", size=32), ADDED, (68.9, 8.71, 46.1)),
    "Adapter^H": ("adapter-h", HoulsbyConfig("houlsby", size=16), ADDED, (67.3, 8.50, 46.0)),
    "prefix-layer": ("prefix-layer", PrefixConfig("layer", before=8, after=3), FEW, (69.7, 8.81, 46.1)),
    "prefix-embedding": ("prefix-embedding", PrefixConfig("embedding", before=8, after=3), FEW, None),
    "BitFit": ("bitfit", None, FEW, None),
    LORA: ("lora", LoRAConfig(rank=4, alpha=ALPHA), FEW, (70.4, 8.85, 46.8)),
    ALL_LAYERS: ("lora", LoRAConfig(rank=16, alpha=ALPHA, targets=(ALL_LINEAR,)), ADDED, None),
}
SCORES = {  # digits, and a factor
    "valid": (3, 1),
    "test": (3, 1),
    "slot_exact": (1, 100),
    "slot_error_rate": (1, 100),
    "bleu": (1, 1),
    "nist": (2, 1),
    "meteor": (1, 100),
}


@dataclass(frozen=True)
class Config:
    """The methods by their labels, and how many of their learning rates to try, starting with the middle one.

    `rates` are those of each method, in the same order; METHODS', if not given.
    """

    training: Training = field(default_factory=Training)
    methods: tuple[str, ...] = tuple(METHODS)
    n_rates: int = 3
    rates: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self):
        unknown = [label for label in self.methods if label not in METHODS]
        if unknown or LORA not in self.methods or len(self.methods) < 2:
            raise ValueError(f"methods was {self.methods}; it must be LoRA and any others of {', '.join(METHODS)}")
        if self.n_rates not in (1, 2, 3):
            raise ValueError(f"n_rates was {self.n_rates!r}; it must be 1, 2 or 3")
        if self.rates is None:
            object.__setattr__(self, "rates", tuple(usual_first(label)[: self.n_rates] for label in self.methods))


def usual_first(label):
    """The learning rates of a method, the middle one first."""
    lowest, middle, highest = METHODS[label][2]
    return middle, highest, lowest


def run_of(training, label):
    """A method's DecoderRun."""
    method, own, *_ = METHODS[label]
    if isinstance(own, LoRAConfig):
        own = replace(own, alpha=training.alpha)
    return training.of(method, own)


def on(base):
    """The Config on another base."""
    labels = tuple(
        label for label in base.methods or METHODS if base.has_biases or label != "BitFit"
    )  # most Llamas have no bias to train
    usual = {LORA: ON_ATTENTION}
    rates = tuple(base.rates_of(METHODS[label][0], usual_first(label), usual.get(label)) for label in labels)
    return Config(base.training, labels, base.n_rates, rates)


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    need_text_scores()
    settings = {label: run_of(config.training, label) for label in config.methods}
    rates = dict(zip(config.methods, config.rates, strict=True))
    found = train_all(sweep, settings, rates, config.training.seeds)
    return {"methods": {label: summary(method_rows) for label, method_rows in found.items()}}


def table(results):
    head = ("valid loss", "test loss", "exact, %", "SER, %", "BLEU", "NIST", "METEOR", "paper")
    lines = [("", "trainable", "lr", *head)]
    for label, row in results["methods"].items():
        ours = (plus_minus(row[name], digits, factor) for name, (digits, factor) in SCORES.items())
        paper = METHODS[label][-1]
        lines.append((label, f"{row['trainable']:,}", rate(row), *ours, " / ".join(map(str, paper)) if paper else "-"))
    return [
        *aligned(lines),
        "",
        *rates_line(results["methods"].values(), "method"),
        "Losses in nats per byte. exact: answers that say every attribute once and nothing else; SER: slot error rate;",
        "BLEU, NIST, METEOR: with 8 references; METEOR by words and stems, without synonyms. paper: the same three.",
    ]


NO_WORSE = no_worse(2.0, "BLEU", "LoRA's lead over full fine-tuning in the paper's table 3 is 2.2")


def against(chosen):
    """`Claim.compare`: LoRA's BLEU against that of each other method for which ``chosen(label, row, LoRA's row)``.

    LoRA's is the row of W_q and W_v, as in the paper; LoRA elsewhere is no other method.
    """

    def compare(results):
        rows = results["methods"]
        lora = rows[LORA]
        others = [label for label, row in rows.items() if not label.startswith(LORA) and chosen(label, row, lora)]
        return [
            paired(f"LoRA against {label}", lora["bleu"]["values"], rows[label]["bleu"]["values"]) for label in others
        ] or None

    return compare


def all_layers_against(label):
    """`Claim.compare`: the BLEU of LoRA on all layers against that of another row, if both are there."""

    def compare(results):
        rows = results["methods"]
        if not {ALL_LAYERS, label} <= rows.keys():
            return None
        return [
            paired(f"{ALL_LAYERS} against {label}", *(rows[each]["bleu"]["values"] for each in (ALL_LAYERS, label)))
        ]

    return compare


CLAIMS = (
    Claim(
        "table3.full",
        "LoRA is no worse than full fine-tuning, which trains many times as many parameters",
        paper("abstract", "LoRA performs on-par or better than fine-tuning in model quality on ... GPT-2, and GPT-3"),
        NO_WORSE,
        against(lambda label, row, lora: label == FULL),
        "W_q and W_v are not the matrices that have to change in a decoder that must learn new words, and the fewer "
        "the steps, the more it helps to change the others.",
    ),
    Claim(
        "table3.as-small",
        "LoRA is better than every method that trains about as few parameters",
        paper("table 3", "LoRA outperforms several baselines with comparable or fewer trainable parameters"),
        better("BLEU"),
        against(lambda label, row, lora: row["trainable"] <= 1.5 * lora["trainable"]),
        note="About as few: at most 1.5 times LoRA's.",
    ),
    Claim(
        "table3.best",
        "LoRA is better than every other method",
        paper("table 4, of GPT-3", "LoRA performs better than prior approaches, including full fine-tuning"),
        better("BLEU"),
        against(lambda label, row, lora: True),
        "The paper starts from a model that knows English well and trains it for 26,000 steps; this decoder has to "
        "learn all of the task in far fewer, in which methods that change more of it get further.",
    ),
    Claim(
        "table3.all-layers",
        "LoRA on all layers is better than on W_q and W_v alone",
        later(
            f"{WITHOUT_REGRET}, Layers Where LoRA Is Applied",
            "Even in small data settings, LoRA performs better when applied to all weight matrices, especially MLP and "
            "MoE layers",
        ),
        better("BLEU"),
        all_layers_against(LORA),
        note="It has about 20 times as many parameters as well.",
    ),
    Claim(
        "table3.all-layers-full",
        "LoRA on all layers is no worse than full fine-tuning",
        own("the paper's claim, for LoRA where later papers put it"),
        NO_WORSE,
        all_layers_against(FULL),
    ),
)


def plot(results):
    from minilora import plots

    methods = {}
    for label, row in results["methods"].items():  # the two sizes of Adapter^L are one method; LoRA's places are two
        name = label if label.startswith(LORA) else label.split(",")[0]
        methods.setdefault(name, []).append((row["trainable"], row["bleu"]["values"]))
    return plots.parameters_against_score(methods, ylabel="BLEU on mini-E2E's test")


EXPERIMENT = Experiment(
    name="table3",
    title="Every method for decoders, on mini-E2E",
    about="The paper adapts GPT-2 medium and large to the E2E challenge. Here {base} is "
    "adapted to mini-E2E, each method with the same steps and batches: {terms}.",
    config=Config(),
    quick=Config(QUICK, methods=(FULL, LORA), n_rates=1),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
    here=HERE,
    on=on,
)
