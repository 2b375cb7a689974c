"""Models. None of them knows whether, or how, it is adapted."""

from typing import TYPE_CHECKING

from minilora.models.bundled import bundled_recipe, load_bundled
from minilora.models.classification import DebertaForClassification, RobertaForClassification, new_classifier
from minilora.models.deberta import Deberta, DebertaCache, DebertaConfig
from minilora.models.decoder import Decoder
from minilora.models.generation import generate
from minilora.models.gpt import GPT, GPTCache, GPTConfig
from minilora.models.llama import Llama, LlamaCache, LlamaConfig
from minilora.models.masked_lm import RobertaForMaskedLM
from minilora.models.model_file import load_model, save_model
from minilora.models.roberta import Roberta, RobertaCache, RobertaConfig
from minilora.models.streaming import Session, stream
from minilora.models.weights_hash import weights_hash
from minilora.moved import names_before

__all__ = [
    "GPT",
    "Deberta",
    "DebertaCache",
    "DebertaConfig",
    "DebertaForClassification",
    "Decoder",
    "GPTCache",
    "GPTConfig",
    "Llama",
    "LlamaCache",
    "LlamaConfig",
    "Roberta",
    "RobertaCache",
    "RobertaConfig",
    "RobertaForClassification",
    "RobertaForMaskedLM",
    "Session",
    "bundled_recipe",
    "generate",
    "load_bundled",
    "load_model",
    "new_classifier",
    "save_model",
    "stream",
    "weights_hash",
]

if not TYPE_CHECKING:
    __getattr__ = names_before(__name__)
