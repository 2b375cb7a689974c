"""RoBERTa's models as small as can be, with no dimension twice, at a generic point: no gain is 1, no bias 0."""

import numpy as np

from minilora.data.classification import ClassificationBatch
from minilora.data.masked import MaskedBatch
from minilora.methods import adapter_dropout
from minilora.models import Roberta, RobertaConfig, RobertaForClassification, RobertaForMaskedLM
from tiny_models import at_a_generic_point

CONFIG = RobertaConfig(
    vocab_size=13, n_positions=9, n_layer=2, d_model=12, n_head=3, d_mlp=20, pad_id=1, n_types=2, n_classes=5
)

PAD = CONFIG.pad_id
IDS = np.array([[3, 7, 4, 0, 5, 9, 2], [6, 5, 3, 5, 1, 1, 1], [8, 12, 1, 1, 1, 1, 1]])  # (N, T) = (3, 7)
MASK = IDS != PAD
LABELS = np.array([4, 0, 2])
TARGETS = np.array([[3, 7, 8, 0, 5, 9, 11], [6, 2, 3, 5, 0, 0, 0], [8, 10, 0, 0, 0, 0, 0]])
COUNTED = MASK & np.array([[0, 0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0]], dtype=bool)

# what `model.loss` takes, and what cross-entropy takes after `model.forward(IDS, MASK)`
BATCHES = {
    RobertaForClassification: (ClassificationBatch(IDS, MASK, LABELS), (LABELS, None)),
    RobertaForMaskedLM: (MaskedBatch(IDS, MASK, TARGETS, COUNTED), (TARGETS, COUNTED)),
}
HEADED = tuple(BATCHES)
ALL = (Roberta, *HEADED)


def rng(seed=0):
    return np.random.default_rng(seed)


def tiny(model_class, dtype="float64", config=CONFIG):
    return at_a_generic_point(model_class, config, dtype=dtype)


def loss_with_dropout(model, batch, draw):
    """The loss of a batch; the adapters' dropout is drawn from `draw`."""
    with adapter_dropout(model, draw):
        return model.loss(batch)[0]
