"""What a tokenizer of the package `tokenizers` has besides its model: tokens that stand out of a text, and a frame."""

from collections.abc import Iterable, Sequence
from typing import Any

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # the types of tokens, SentencePiece's and GGUF's


def require_tokenizers(path: object) -> Any:
    """The package `tokenizers`; RuntimeError if it is not installed."""
    try:
        import tokenizers
    except ImportError:
        raise RuntimeError(
            f"{path} is read by the package tokenizers, which is not installed: pip install 'tokenizers>=0.20'"
        ) from None
    return tokenizers


def add_tokens(tokenizer: Any, tokens: Sequence[str], types: Iterable[int], tokenizers: Any) -> None:
    """Let a tokenizer find its control tokens, and those that its user has defined, anywhere in a text."""
    of_type = list(zip(tokens, types, strict=True))
    for special, kinds in ((True, (CONTROL, UNKNOWN)), (False, (USER_DEFINED,))):
        added = [
            tokenizers.AddedToken(token, normalized=False, special=special)
            for token, kind in of_type
            if kind in kinds and token
        ]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(added)


def add_frame(tokenizer: Any, first: int | None, last: int | None, tokenizers: Any) -> None:
    """Let a tokenizer put a token before each text, and one behind it; None: nothing."""
    before, behind = ([] if i is None else [tokenizer.id_to_token(i)] for i in (first, last))
    if before or behind:
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=[*before, "$A", *behind],
            pair=[*before, "$A", *behind, *before, "$B", *behind],
            special_tokens=[(tokenizer.id_to_token(i), i) for i in dict.fromkeys((first, last)) if i is not None],
        )
