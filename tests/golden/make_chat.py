"""Writes tests/golden/chat.json: what transformers makes of the chat templates and conversations of the tests.

    python tests/golden/make_chat.py        needs transformers

Each text, or None where the template refuses the conversation; without and with a prompt for the next answer.
"""

import json
import sys
from pathlib import Path

import tokenizers
import transformers

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from data.chat_templates import CONVERSATIONS, TEMPLATES, TOKENS  # noqa: E402


def written(name, messages, prompt):
    bos, eos = TOKENS[name]
    tokens = {key: token for key, token in (("bos_token", bos), ("eos_token", eos)) if token}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **tokens)
    settings = {"tokenize": False, "add_generation_prompt": prompt, "chat_template": TEMPLATES[name]}
    try:
        return tokenizer.apply_chat_template(messages, **settings)
    except Exception as error:
        print(f"{name}: {error}")
        return None


if __name__ == "__main__":
    texts = {name: [[written(name, m, p) for p in (False, True)] for m in CONVERSATIONS] for name in TEMPLATES}
    made = {"transformers": transformers.__version__, "texts": texts}
    (HERE / "chat.json").write_text(json.dumps(made, indent=1) + "\n")
