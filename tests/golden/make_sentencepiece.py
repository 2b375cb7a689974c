"""Writes tests/golden/sentencepiece: two small tokenizer.model files, and what SentencePiece makes of texts.

    python tests/golden/make_sentencepiece.py       needs sentencepiece, and what minilora needs

The texts are those of tests/llm/cases.py, and random ones of the corpus's own signs, of which many meet in few tokens.
"""

import io
import json
import random
import sys
from pathlib import Path

import sentencepiece

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from llm.cases import AWKWARD  # noqa: E402

CORPUS = [
    "The river is long and the road is short. The house by the river is old, and the road to the house is new.",
    "The Eagle is a coffee shop in the city centre. It serves Italian food at a low price, and it is family friendly.",
    "It is a small house near the station, and the garden behind it is larger than the one that we saw in the city.",
    "def add(first, second):",
    "    return first + second",
    "        if first is None:",
    "aaaa aaaaaaa aa aaa abab ababab baba",
    "Die Straße nach München führt über den Fluß; das Haus am Ufer ist grün und gehört einem Müller.",
    "東京は日本の首都です。東京の川は長い。",
    "1234567890 12 3.14 2^10 2026",
    "https://example.com/a_b?c=d&e=%20f#g",
]
SETTINGS = {  # Llama 2's, but for the size
    "model_type": "bpe",
    "vocab_size": 480,
    "character_coverage": 1.0,
    "byte_fallback": True,
    "split_digits": True,
    "allow_whitespace_only_pieces": True,
    "remove_extra_whitespaces": False,
    "normalization_rule_name": "identity",
    "unk_surface": " \u2047 ",
}
KINDS = {  # what differs from SETTINGS
    "llama": {},
    "no-bytes": {"byte_fallback": False, "vocab_size": 224, "add_dummy_prefix": False},
}


def trained(**settings):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 4), model_writer=model, minloglevel=2, **SETTINGS | settings
    )
    return model.getvalue()


def random_texts(n, seed):
    """Texts of signs of the corpus, in which neighbours repeat."""
    rng = random.Random(seed)
    signs = sorted({sign for line in CORPUS for sign in line})
    texts = []
    for _ in range(n):
        few = rng.sample(signs, rng.randint(1, 6)) + [" "]
        texts.append("".join(rng.choice(few) for _ in range(rng.randint(1, 40))))
    return texts


if __name__ == "__main__":
    folder = HERE / "sentencepiece"
    folder.mkdir(exist_ok=True)
    texts = [*AWKWARD.values(), "<s>a</s> <unk> <0x41>", *CORPUS, *random_texts(200, seed=0)]
    expected = {"sentencepiece": sentencepiece.__version__, "texts": texts}
    for kind, settings in KINDS.items():
        (folder / f"{kind}.model").write_bytes(trained(**settings))
        expected[kind] = sentencepiece.SentencePieceProcessor(str(folder / f"{kind}.model")).encode(texts)
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False) + "\n")
