"""The golden folders of every architecture, by what loads them, and texts that try a tokenizer."""

from minilora import interop

LLAMAS = ("grouped", "head_dim", "theta", "tied", "bias", "llama3", "qwen2", "mistral")
FOLDERS = {
    "gpt2": interop.load_gpt2,
    "roberta_classification": interop.load_roberta,
    "roberta_masked_lm": interop.load_roberta,
    "deberta_classification": interop.load_deberta,
} | {f"llama/{name}": interop.load_llama for name in LLAMAS}
TEXTS = ("", "Grüße, 😀\n\tx = 42  ", "The quick brown fox's\u2028 tail\x7f\x01")
