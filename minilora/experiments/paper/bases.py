"""The bases on which an experiment runs: one experiment, and a few numbers for each model that is adapted.

Without a model, each experiment adapts the bundled one that its configuration names. On any other decoder it is the
same experiment with a `Base`: the model, how long and how often it is trained, and what of it is looked at.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from minilora.experiments.adapt import task_of
from minilora.experiments.paper.mini_e2e import QUICK, Training
from minilora.experiments.rates import is_large, large_rate
from minilora.interop.opening import BUNDLED, SMOLLM2
from minilora.methods import LoRAConfig
from minilora.models import weights_hash

PROPER_NAMES = {SMOLLM2: "SmolLM2"}
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
MOST_BLOCKS = 6  # of which all are looked at

# For a large model: fewer runs and steps, because a step is slow, each on more text, because its tokens are longer.
OF_LARGE = Training(steps=100, seeds=(0, 1, 2), n_held_out=48, alpha=16)
# LoRA on attention alone needs a higher rate than on all layers. SmolLM2's loss on valid after 60 steps of 8, r = 4 on
# W_q and W_v, in nats per byte: 0.205 with 3e-3, 0.180 with 1e-2, 0.302 with 3e-2.
ON_ATTENTION = 1e-2
LARGE_METHODS = ("full fine-tuning", "Adapter^L, large", "prefix-layer", "LoRA", "LoRA, all layers")
LARGE_RANKS = (1, 4, 8, 16, 64)  # table 18 claims something of 1, 4, 16 and of those above it
FEW_RANKS = (1, 8, 64)  # and table 6 of these, in three places
FOR_LARGE = {"methods": LARGE_METHODS, "ranks": LARGE_RANKS, "few_ranks": FEW_RANKS, "n_rates": 1, "large": True}


@dataclass(frozen=True)
class Base:
    """A decoder that is adapted, and what an experiment has to know of it.

    Parameters
    ----------
    label : str
        Of one word; its results lie in a folder of this name.
    name : str
        What a title calls it.
    words : str
        What a sentence calls it.
    training : Training
        With the model, and its sizes.
    shapes : dict of str to pair of int
        (O, I) of each projection of a block's attention.
    n_blocks : int
    model_id : str
        See `weights_hash`.
    has_biases : bool
        Whether BitFit has anything to train.
    methods : sequence of str, optional
        Of table 3; all, if not given.
    ranks, few_ranks : sequence of int, optional
        Of table 18, and of table 6, which has three rows for each; the experiment's own, if not given.
    n_rates : int
        How many learning rates to try for each method.
    large : bool
        Whether its rates are a large model's, see `minilora.experiments.rates`.
    """

    label: str
    name: str
    words: str
    training: Training
    shapes: dict[str, tuple[int, int]]
    n_blocks: int
    model_id: str
    has_biases: bool = True
    methods: tuple[str, ...] | None = None
    ranks: tuple[int, ...] | None = None
    few_ranks: tuple[int, ...] | None = None
    n_rates: int = 3
    large: bool = False

    def quick(self):
        """The base for a run of about a minute, to see it work."""
        training = replace(self.training, steps=QUICK.steps, batch_size=QUICK.batch_size, seeds=QUICK.seeds)
        few = {"methods": ("full fine-tuning", "LoRA"), "ranks": FEW_RANKS, "few_ranks": FEW_RANKS, "n_rates": 1}
        return replace(self, training=replace(training, n_held_out=QUICK.n_held_out), **few)

    def rates_of(self, method, own, usual=None):
        """The learning rates to try for a method, the usual one first.

        Parameters
        ----------
        method : str
            In `minilora.methods.METHODS`.
        own : sequence of float
            A bundled model's, the usual one first; a small model takes them.
        usual : float, optional
            A large model's; that of the method on all layers, if not given.
        """
        middle = usual or large_rate(method)
        rates = tuple(float(f"{rate:.2g}") for rate in (middle, 3 * middle, middle / 3)) if self.large else own
        return rates[: self.n_rates]

    @property
    def most_rank(self):
        """The highest rank that all projections of the attention can have."""
        return min(min(shape) for shape in self.shapes.values())

    def possible(self, ranks):
        """Ranks to compare: each at most what the matrices can have."""
        return tuple(dict.fromkeys(min(rank, self.most_rank) for rank in ranks))

    def lora(self, rank, targets, *, equal=False):
        """A LoRAConfig for some projections.

        Parameters
        ----------
        rank : int
        targets : sequence of str
        equal : bool
            Let each have as many parameters as the widest projection has at `rank`. A has r I numbers and B has r O:
            where groups of heads share keys and values, W_k and W_v are smaller, and take a higher rank.
        """
        rank, widest, pattern = min(rank, self.most_rank), max(map(sum, self.shapes.values())), {}
        for name in targets if equal else ():
            O, I = self.shapes[name]
            r = min(max(1, round(rank * widest / (O + I))), O, I)
            pattern |= {name: r} if r != rank else {}
        return LoRAConfig(rank=rank, alpha=self.training.alpha, targets=targets, rank_pattern=pattern)

    def blocks(self):
        """Which blocks are looked at: all, or of many the first, the last and three between, as in the appendix."""
        L = self.n_blocks
        return tuple(range(L)) if L <= MOST_BLOCKS else (0, L // 3, L // 2, 2 * L // 3, L - 1)

    def about(self):
        """What a result says of its base, as a dict for JSON."""
        return {"label": self.label, "name": self.name, "base": self.words, "model_id": self.model_id}


def base_of(opened):
    """The Base for a decoder, by its size.

    Parameters
    ----------
    opened : OpenedModel
        Of a decoder.

    Raises
    ------
    ValueError
        If mini-E2E does not fit into the model's positions.
    """
    model, name = opened.model, opened.name
    model_id = weights_hash(model)
    label = name if name in (*BUNDLED, SMOLLM2) else f"{short_name(name)}-{model_id[:8]}"
    proper = PROPER_NAMES.get(label, label)
    n = sum(p.data.size for p in model.parameters())
    attention = model.blocks[0].attn
    training = replace(OF_LARGE if is_large(model) else Training(), model=name)
    task_of("mini-e2e", length=model.longest_input, n_held_out=training.n_held_out, source=opened.source)
    return Base(
        label=label,
        name=proper,
        words=f"{proper} (a {type(model).__name__} of {n:,} parameters)",
        training=training,
        shapes={projection: getattr(attention, projection).W.data.shape for projection in PROJECTIONS},
        n_blocks=len(model.blocks),
        model_id=model_id,
        has_biases=any(path.endswith(".bias") for path, _ in model.named_parameters()),
        **(FOR_LARGE if is_large(model) else {}),
    )


def short_name(name):
    """A word for a model's folder or file: its name, or of a file called model the name of the folder it is in."""
    path = Path(name).resolve()
    word = path.name if path.is_dir() or path.stem != "model" else path.parent.name
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", word.removesuffix(".safetensors").removesuffix(".gguf"))[:40].strip(".-")
