"""A small real tokenizer: byte-level byte-pair encoding, with control tokens, as today's language models have."""

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from minilora.interop.tokenizer import HFTokenizer

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>"]
TEXTS = [
    "The Eagle is a coffee shop in the city centre. It serves Italian food at a low price, and it is family friendly.",
    "user and assistant: Hello! Good morning. Good night. You are a helpful assistant.",
    "def add(first, second): return first + second",
]


def bpe(bos=None, eos="<|im_end|>"):
    """An HFTokenizer that begins every text with `bos`, and whose end of text is `eos`."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    settings = {"special_tokens": CONTROL, "initial_alphabet": alphabet, "show_progress": False}
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=340, **settings))
    if bos:
        made.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, made.token_to_id(bos))]
        )
    return HFTokenizer(made, made.token_to_id(eos))
