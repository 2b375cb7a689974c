"""DeBERTa's models as small as can be, with no dimension twice, at a generic point: no gain is 1, no bias 0."""

from dataclasses import replace

import numpy as np

from minilora.data.classification import ClassificationBatch
from minilora.models import Deberta, DebertaConfig, DebertaForClassification
from models.tiny_encoders import tiny

CONFIG = DebertaConfig(
    vocab_size=13,
    n_layer=3,
    d_model=12,
    n_head=4,
    d_mlp=20,
    n_buckets=7,
    max_distance=8,
    conv_kernel_size=5,
    n_classes=6,
)
WITHOUT_CONV = replace(CONFIG, conv_kernel_size=0)
IDS = np.array([[3, 7, 4, 0, 5, 9, 2, 2, 11], [6, 5, 3, 0, 8, 12, 0, 0, 0]])  # (N, T) = (2, 9): distances share rows
MASK = np.array([[1] * 9, [1, 1, 1, 0, 1, 1, 0, 0, 0]], dtype=bool)  # padding behind the tokens, and among them
LABELS = np.array([4, 1])
BATCH = ClassificationBatch(IDS, MASK, LABELS)


def tiny_encoder(dtype="float64", config=CONFIG):
    return tiny(Deberta, dtype, config)


def tiny_classifier(dtype="float64", config=CONFIG):
    return tiny(DebertaForClassification, dtype, config)
