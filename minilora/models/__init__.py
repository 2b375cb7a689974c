"""Models. None of them knows how it is adapted."""

from minilora.models.bundled import bundled_recipe, load_bundled
from minilora.models.gpt import GPT, GPTCache, GPTConfig
from minilora.models.model_file import load_model, save_model

__all__ = ["GPT", "GPTCache", "GPTConfig", "bundled_recipe", "load_bundled", "load_model", "save_model"]
