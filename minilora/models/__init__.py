"""Models. None of them knows how it is adapted."""

from minilora.models.gpt import GPT, GPTCache, GPTConfig
from minilora.models.model_file import load_model, save_model

__all__ = ["GPT", "GPTCache", "GPTConfig", "load_model", "save_model"]
