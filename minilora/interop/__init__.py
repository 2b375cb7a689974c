"""Real checkpoints: Hugging Face's folders, and their tokenizers."""

from minilora.interop.gpt2 import load_gpt2
from minilora.interop.roberta import load_roberta
from minilora.interop.tokenizer import HFTokenizer, load_tokenizer

__all__ = ["HFTokenizer", "load_gpt2", "load_roberta", "load_tokenizer"]
