"""How well a decoder uses its context: bits per byte of what it reads for the first time, and for the second.

    python -m minilora.experiments.reader_probe decoder.safetensors

Everything is measured on the standard library's held-out prose, its valid split. What adaptation reaches on the same
model, `demo_search.py` measures.
"""

import argparse
import json
import math
import random
from collections.abc import Sequence

import numpy as np

from minilora.data import load_corpus
from minilora.data.batches import LMBatch, encode_documents, windows
from minilora.data.copying import PRINTABLE, Words
from minilora.data.tokenizer import ByteTokenizer
from minilora.models import GPT, load_bundled, load_model
from minilora.training import evaluate_loss

UNFORESEEN = 3  # the first bytes of a copy: before these, nothing shows that it is one


def copying_bits(model: GPT, *, n: int = 128, seed: int = 0) -> dict[str, float]:
    """Bits per byte of something's first and second occurrence in a window, from its fourth byte on.

    Parameters
    ----------
    model : GPT
    n : int
        How many windows of each kind.
    seed : int

    Returns
    -------
    dict of str to float
        name_first, name_second: two made-up words within held-out prose; string_first, string_second: 60 random
        printable characters, and the same on the next line.
    """
    rng, words = random.Random(seed), Words(())
    prose = "".join(load_corpus("prose").texts("valid")).replace("\n", " ")

    def piece():
        start = rng.randrange(len(prose) - 40)
        return prose[start : start + 40]

    def names():
        name = " ".join(words.made_up(rng).capitalize() for _ in range(2))
        return [piece() + " ", name, " " + piece() + " ", name]

    def strings():
        text = "".join(rng.choices(PRINTABLE, k=60))
        return ["", text, "\n", text]

    found = {}
    for kind, draw in (("name", names), ("string", strings)):
        drawn = [draw() for _ in range(n)]
        for which, part in (("first", 1), ("second", 3)):
            batches = [copy_batch(parts, part) for parts in drawn]
            found[f"{kind}_{which}"] = evaluate_loss(model, batches) / math.log(2)
    return found


def copy_batch(parts: Sequence[str], counted: int) -> LMBatch:
    """The parts of a text as one row; only the part `counted` counts, from its fourth byte on."""
    tokens = np.concatenate([[ByteTokenizer.end_of_text], ByteTokenizer().encode("".join(parts))])  # (T + 1,)
    start = sum(map(len, parts[:counted])) + UNFORESEEN
    mask = np.zeros(len(tokens) - 1, dtype=bool)
    mask[start : start - UNFORESEEN + len(parts[counted])] = True
    return LMBatch(tokens[None, :-1], tokens[None, 1:], mask[None])


def prose_bits(model: GPT) -> float:
    """Bits per byte of the standard library's held-out prose."""
    tokenizer = ByteTokenizer()
    tokens = encode_documents(load_corpus("prose").texts("valid"), tokenizer)
    sizes = {"length": model.config.n_positions, "batch_size": 16}
    return evaluate_loss(model, windows(tokens, **sizes, end_of_text=tokenizer.end_of_text)) / math.log(2)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a model file (default: the bundled decoder)")
    options = parser.parse_args(arguments)
    model = load_model(options.model, dtype="float32") if options.model else load_bundled("decoder")
    print(json.dumps({"prose": prose_bits(model), **copying_bits(model)}))


if __name__ == "__main__":
    main()
