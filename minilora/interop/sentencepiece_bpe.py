"""SentencePiece's byte-pair encoding (Llama 2, the first Mistral) as a tokenizer of the package `tokenizers`.

A text gets a blank before it, and each blank becomes "▁". Its characters are then merged, whatever words they are in:
of all pairs of neighbours that together are a token, the one whose token has the highest score is merged first, and of
several such pairs the first in the text. A character that is no token becomes its bytes, which are tokens <0x00> to
<0xFF>, or else the token for what is unknown.

The package `tokenizers` merges by a list of pairs in order. Every way to cut a token in two tokens is one pair, in the
order of the scores of what they make:

    for each token t = a b, with a and b tokens:  (a, b), by falling score of t, and of equal ones the longer a first

That is the same for every text if every character of a token is a token, no token that merges can make is unused
(SentencePiece takes these apart again), and no two have one score: between those, SentencePiece takes the first in the
text. What does not fulfil this is refused. There is one exception: Mistral's runs of blanks, "▁▁" to 16 of them, have
all the same score. In a run of one sign the first pair that merges is the one at the longest token, for what is before
it cannot merge any more, and behind it are single signs: so the longer a first.

As in llama.cpp, what stands behind a control token is a text of its own, and gets a blank too.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy

from minilora.interop.tokenizer_parts import NORMAL, UNKNOWN, UNUSED, add_tokens, require_tokenizers
from minilora.limits import shown

BLANK = "▁"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
LONGEST, MOST_CHARACTERS = 256, 4_000_000  # of one token that merges can make, and of all; Llama 2's have 230,000


class Pieces(NamedTuple):
    """SentencePiece's tokens, and how a text begins."""

    path: Path
    tokens: list[str]
    scores: numpy.ndarray  # (V,)
    types: numpy.ndarray  # (V,) of tokenizer_parts
    blank_first: bool  # whether a text gets a blank before it


def sentencepiece_bpe(pieces: Pieces) -> Any:
    """The tokenizer of these Pieces, without a frame: a tokenizers.Tokenizer.

    Raises
    ------
    ValueError
        If it could not be the same for every text.
    RuntimeError
        If the package `tokenizers` is not installed.
    """
    tokenizers = require_tokenizers(pieces.path)
    vocabulary = {token: i for i, token in enumerate(pieces.tokens)}
    n_bytes = sum(byte in vocabulary for byte in BYTES)
    unknown = next((token for token, kind in zip(pieces.tokens, pieces.types, strict=True) if kind == UNKNOWN), None)
    if n_bytes not in (0, len(BYTES)) or (not n_bytes and unknown is None):
        must = "it must have all of <0x00> to <0xFF>, or none of them and a token for what is unknown"
        raise ValueError(f"{pieces.path}: the tokenizer has tokens for {n_bytes} of 256 bytes; {must}")
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            vocabulary, merges_of(pieces), unk_token=unknown, fuse_unk=True, byte_fallback=n_bytes > 0
        )
    )
    first = [tokenizers.normalizers.Prepend(BLANK)] if pieces.blank_first else []
    tokenizer.normalizer = tokenizers.normalizers.Sequence([*first, tokenizers.normalizers.Replace(" ", BLANK)])
    decoders = tokenizers.decoders
    without_first = [decoders.Strip(" ", 1, 0)] if pieces.blank_first else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), *without_first]
    )
    add_tokens(tokenizer, pieces.tokens, pieces.types, tokenizers)
    return tokenizer


def merges_of(pieces: Pieces) -> list[tuple[str, str]]:
    """The pairs that merge, in order."""
    mergeable = {
        token: (float(score), kind)
        for token, score, kind in zip(pieces.tokens, pieces.scores, pieces.types, strict=True)
        if kind in (NORMAL, UNUSED)
    }
    if sum(map(len, mergeable)) > MOST_CHARACTERS or any(len(token) > LONGEST for token in mergeable):
        most = f"{LONGEST} characters each, and {MOST_CHARACTERS:,} in all"
        raise ValueError(f"{pieces.path}: the tokenizer's tokens are too long; they must have at most {most}")
    if not numpy.isfinite(pieces.scores).all():
        raise ValueError(f"{pieces.path}: the scores of the tokenizer's tokens must be finite numbers")
    made: dict[float, str] = {}
    merges = []
    for token, (score, kind) in mergeable.items():
        if kind == NORMAL and len(token) > 1 and (odd := next((sign for sign in token if sign not in mergeable), None)):
            raise ValueError(f"{pieces.path}: {shown(odd)} of the token {shown(token)} must be a token too")
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        pairs = [(a, b) for a, b in cuts if a in mergeable and b in mergeable]
        if pairs and kind == UNUSED:
            raise ValueError(f"{pieces.path}: the token {shown(token)} is unused; minilora takes none apart again")
        if pairs and (other := made.setdefault(score, token)) != token and not len({*token, *other}) == 1:
            both = f"{shown(other)} and {shown(token)}"
            raise ValueError(f"{pieces.path}: the tokens {both} have one score, {score:g}; it must say which is first")
        merges += [(score, pair) for pair in pairs]
    return [pair for _, pair in sorted(merges, key=lambda merge: (-merge[0], -len(merge[1][0])))]
