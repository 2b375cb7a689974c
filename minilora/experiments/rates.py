"""The learning rate that suits a method, where none is given."""

from minilora.data import ClassificationTask, ConversationTask, PairTask, TextTask

# Default learning rates for text tasks, found in short runs of the bundled decoder on mini-E2E, to a factor of two,
# with each method's own defaults.
OF_TEXTS = {
    "lora": 2e-2,
    "rslora": 2e-2,
    "dora": 2e-2,
    "pissa": 5e-3,
    "full": 2e-3,
    "top-k": 5e-3,
    "bitfit": 3e-2,
    "adapter-h": 1e-2,
    "adapter-l": 1e-2,
    "adapter-p": 1e-2,
    "adapter-d": 1e-2,
    "prefix-embedding": 1e-1,
    "prefix-layer": 1e-1,
}
# Default learning rates for classification: those of figures/table2.json, the bundled encoder's best of three on valid.
OF_CLASSES = dict.fromkeys(("lora", "rslora", "dora", "pissa", "adapter-h", "adapter-l", "adapter-p"), 3e-3) | {
    "full": 3e-4,
    "top-k": 1e-3,
    "bitfit": 1e-2,
    "adapter-d": 1e-2,
}


def default_rate(method: str, task: PairTask | TextTask | ConversationTask | ClassificationTask) -> float:
    """The learning rate of a method, a name in `minilora.methods.METHODS`, on a task."""
    of_classes = OF_CLASSES if isinstance(task, ClassificationTask) else {}
    return of_classes.get(method, OF_TEXTS[method])  # prefixes work on text tasks only, and are refused elsewhere
