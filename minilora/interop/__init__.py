"""Reading what other libraries write, and the other way round: checkpoints, tokenizers, adapters."""

from minilora.interop.chat_template_of import chat_template_of
from minilora.interop.deberta import load_deberta
from minilora.interop.gguf_adapter import save_gguf_adapter
from minilora.interop.gguf_adapter_load import load_gguf_adapter
from minilora.interop.gguf_load import load_gguf
from minilora.interop.gguf_save import save_gguf
from minilora.interop.gpt2 import load_gpt2
from minilora.interop.hf_tokenizer import HFTokenizer
from minilora.interop.llama import load_llama
from minilora.interop.peft_load import load_peft
from minilora.interop.peft_save import save_peft
from minilora.interop.roberta import load_roberta
from minilora.interop.save_hf import save_hf
from minilora.interop.smollm2 import smollm2_file
from minilora.interop.tokenizer import load_tokenizer

__all__ = [
    "HFTokenizer",
    "chat_template_of",
    "load_deberta",
    "load_gguf",
    "load_gguf_adapter",
    "load_gpt2",
    "load_llama",
    "load_peft",
    "load_roberta",
    "load_tokenizer",
    "save_gguf",
    "save_gguf_adapter",
    "save_hf",
    "save_peft",
    "smollm2_file",
]
