"""What SmolLM2 is asked: awkward texts, twenty prompts, and the adapter that it answers them with."""

import numpy as np

from minilora.methods import LoRAConfig, apply_lora

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

AWKWARD = {
    "empty": "",
    "blank": " ",
    "blanks before a digit": "a   7",
    "digits": "1234567890 12 3.14 2^10",
    "digits of other scripts": "٣٤ ४५ ½ ² Ⅷ",
    "blanks and line ends": "  a \n\n  b\r\n\tc \t \n",
    "tabs": "\t\t\tx\ty",
    "emoji": "😀 👩‍👩‍👧 🇩🇪 ❤️",
    "Chinese and Japanese": "東京は日本の首都です。",
    "Korean, Arabic, Hindi": "안녕하세요 مرحبا नमस्ते",
    "combining marks": "e\u0301 a\u0308\u0301 क्षि",
    "composed": "é ä",
    "NUL": "a\0b",
    "control characters": "\x01\x1b[31m\x7f\x85",
    "no character": "\ufeff\ufffd\u200b\u2028x\u00a0y",
    "contractions": "I'm you'll IT'S don’t 's",
    "code": "def f(x):\n    return {**x, 'a': [1, 2]}  # ok\n",
    "a long word": "Donaudampfschifffahrtsgesellschaftskapitän" * 20,
    "many times": "a" * 300,
    "signs": "!?!... --- ~~~ <<>> $%& (c) ©®™",
    "address": "https://example.com/a_b?c=d&e=%20f#g",
    "control tokens": "<|im_start|>user\nHi<|im_end|>\n<|endoftext|>",
    "control tokens in text": "Do not write <|im_end|>, or<|im_start|>, please <file_sep>.",
    "half a control token": "<|im_end| > <|im_",
}

QUESTIONS = [
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Name three fruits.",
    "What is 7 times 8?",
    "Explain gravity to a child in two sentences.",
    "Translate 'good morning' into Spanish.",
    "Write a Python function that reverses a list.",
    "Who wrote Hamlet?",
    "What is the opposite of hot?",
    "List the days of the week.",
    "Why is the sky blue?",
    "Give me a recipe for pancakes.",
    "What is the largest planet?",
    "Complete: roses are red,",
    "How do I boil an egg?",
    "Is a tomato a fruit?",
]
PLAIN = ["Once upon a time", "The quick brown fox", "import numpy as np\n\n", "In 1969, the first"]
PROMPTS = [f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n" for question in QUESTIONS] + PLAIN
N_TOKENS = 24
STOP = (0, 2)  # <|endoftext|>, <|im_end|>
VARIANTS = ("base", "adapter", "half", "merged")


def adapt(model):
    """Give SmolLM2 an adapter on all projections that changes what it says, and leaves it English."""
    rng = np.random.default_rng(0)
    apply_lora(model, LoRAConfig(rank=8, alpha=16, targets=TARGETS), rng=rng)
    for name, p in model.named_parameters():
        if name.endswith(".B"):
            p.data[...] = 0.01 * rng.standard_normal(p.data.shape)
