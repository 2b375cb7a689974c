"""The learning rate that suits a method, where none is given."""

from minilora.data import ClassificationTask, ConversationTask, PairTask, TextTask
from minilora.models.model import Model

# Default learning rates for text tasks, for the bundled decoder on mini-E2E, to a factor of two, with each method's own
# defaults. Those marked * are the best of three in 200 steps of 8 (`minilora reproduce family`); where three times the
# best ended above the untrained model, half of it or less.
OF_TEXTS = {
    "lora": 2e-2,  # *
    "rslora": 1e-2,  # *
    "dora": 2e-2,  # *
    "pissa": 2e-2,  # *
    "lora-fa": 2e-1,  # *
    "lora-ga": 2e-2,  # *
    "full": 2e-3,  # *
    "top-k": 5e-3,
    "bitfit": 3e-2,
    "adapter-h": 1e-2,
    "adapter-l": 1e-2,
    "adapter-p": 1e-2,
    "adapter-d": 1e-2,
    "prefix-embedding": 1e-1,
    "prefix-layer": 1e-1,
    "prompt-tuning": 1e-1,  # *
    "lora+prefix-embedding": 2e-2,  # LoRA's, not searched for
    "lora+prefix-layer": 2e-2,
    "adalora": 6e-2,  # *
    "vera": 3e-1,  # *
    "random-subspace": 1e-1,  # 3 times what makes its steps as long as full fine-tuning's; not searched for, either
    "trainable-tokens": 3e-2,  # *
    "ia3": 3e-1,  # *
}
# Default learning rates for classification, the bundled encoder's best of three on valid: in 3,600 steps of 16 those
# marked * (figures/table2.json), and in 600 steps of 8 the others. Those of prefixes are prefix-layer's with lp = 8, on
# unicode-names' valid split: 62.6 % with 3e-3 and 71.0 % with 1e-2 in 1,200 steps of 16; in 250 steps, 3e-2 and 1e-1
# gave the most frequent class for everything. prefix-embedding has the same, without a search.
OF_CLASSES = dict.fromkeys(("rslora", "dora", "pissa", "lora-fa", "lora-ga", "adapter-l", "adapter-p"), 3e-3) | {
    "lora": 3e-3,  # *
    "full": 3e-4,  # *
    "bitfit": 3e-3,  # *
    "adapter-h": 3e-3,  # *
    "top-k": 1e-3,
    "adapter-d": 1e-2,
    "adalora": 3e-3,  # LoRA's; and VeRA's, 5 times LoRA's as in texts, was not searched for either
    "vera": 1.5e-2,
    "prefix-embedding": 1e-2,
    "prefix-layer": 1e-2,
    "lora+prefix-embedding": 3e-3,  # LoRA's, not searched for
    "lora+prefix-layer": 3e-3,
}


# A large model needs lower rates, a tenth of the bundled decoder's. For SmolLM2, LoRA's and full fine-tuning's are the
# demonstration's, 3e-3 and 2e-4, see `demo_settings.py`; the others were not searched for.
LARGE = 50_000_000  # parameters; the bundled decoder has 2 million, SmolLM2 135 million
OF_ITS = {"lora": 0.15}  # of the bundled decoder's rate
TENTH = 1 / 10


def is_large(model: Model) -> bool:
    """Whether a model is one for which the rates of the bundled ones are too high."""
    return sum(p.size for p in model.parameters()) >= LARGE


def large_rate(method: str) -> float:
    """The learning rate of a method on a text task, for a large model."""
    return OF_TEXTS[method] * OF_ITS.get(method, TENTH)


def default_rate(
    method: str, task: PairTask | TextTask | ConversationTask | ClassificationTask, model: Model | None = None
) -> float:
    """The learning rate of a method, a name in `minilora.methods.METHODS`, on a task, for a model of the given size."""
    if model is not None and not isinstance(task, ClassificationTask) and is_large(model):
        return large_rate(method)
    of_classes = OF_CLASSES if isinstance(task, ClassificationTask) else {}
    return of_classes.get(method, OF_TEXTS[method])  # what no classifier can have is refused elsewhere
