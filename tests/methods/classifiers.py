"""Both kinds of tiny classifiers, with a batch for each, which leaves room for a prefix of three tokens."""

from minilora.data.classification import ClassificationBatch
from minilora.models import DebertaForClassification, RobertaForClassification
from models import tiny_deberta, tiny_encoders

MODELS = {
    "roberta": (RobertaForClassification, tiny_encoders.CONFIG, tiny_encoders),
    "deberta": (DebertaForClassification, tiny_deberta.CONFIG, tiny_deberta),
}


def batch_of(kind):
    texts = MODELS[kind][2]
    return ClassificationBatch(texts.IDS[:, :6], texts.MASK[:, :6], texts.LABELS)
