"""Models. None of them knows whether, or how, it is adapted."""

from minilora.models.bundled import bundled_recipe, load_bundled
from minilora.models.classification import DebertaForClassification, RobertaForClassification, new_classifier
from minilora.models.deberta import Deberta, DebertaCache, DebertaConfig
from minilora.models.gpt import GPT, GPTCache, GPTConfig
from minilora.models.masked_lm import RobertaForMaskedLM
from minilora.models.model_file import load_model, save_model
from minilora.models.roberta import Roberta, RobertaCache, RobertaConfig
from minilora.models.weights_hash import weights_hash

__all__ = [
    "GPT",
    "Deberta",
    "DebertaCache",
    "DebertaConfig",
    "DebertaForClassification",
    "GPTCache",
    "GPTConfig",
    "Roberta",
    "RobertaCache",
    "RobertaConfig",
    "RobertaForClassification",
    "RobertaForMaskedLM",
    "bundled_recipe",
    "load_bundled",
    "load_model",
    "new_classifier",
    "save_model",
    "weights_hash",
]
