"""Both kinds of tiny classifiers, with a batch for each."""

from minilora.data.classification import ClassificationBatch
from minilora.models import DebertaForClassification, RobertaForClassification
from models import tiny_deberta, tiny_encoders

MODELS = {
    "roberta": (RobertaForClassification, tiny_encoders.CONFIG, tiny_encoders),
    "deberta": (DebertaForClassification, tiny_deberta.CONFIG, tiny_deberta),
}


def batch_of(kind):
    texts = MODELS[kind][2]
    return ClassificationBatch(texts.IDS, texts.MASK, texts.LABELS)
