"""Real checkpoints: Hugging Face's folders."""

from minilora.interop.deberta import load_deberta
from minilora.interop.roberta import load_roberta

__all__ = ["load_deberta", "load_roberta"]
