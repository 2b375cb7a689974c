"""A Hugging Face tokenizer, tokenizer.json, through the package `tokenizers`, which is an extra: minilora[hf]."""

from pathlib import Path

import numpy


def load_tokenizer(folder):
    """The tokenizer of a Hugging Face folder.

    Parameters
    ----------
    folder : str or Path
        With tokenizer.json.

    Returns
    -------
    tokenizer : HFTokenizer

    Raises
    ------
    ValueError
        If there is no tokenizer.json, or it cannot be read.
    RuntimeError
        If the package `tokenizers` is not installed.
    """
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise RuntimeError(
            f"{path} is read by the package tokenizers, which is not installed: pip install 'tokenizers>=0.20'"
        ) from None
    try:
        return HFTokenizer(Tokenizer.from_str(path.read_text(encoding="utf-8")))
    except Exception as error:  # the package raises nothing more special
        raise ValueError(f"{path} is no tokenizer that can be read: {error}") from None


class HFTokenizer:
    """Text to token ids and back, as `data.ByteTokenizer` does it.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        Its own padding and truncation are switched off: a text is encoded whole, and batches do the rest.
    """

    def __init__(self, tokenizer):
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.vocab_size = tokenizer.get_vocab_size()

    def encode(self, text, second=None):
        """The ids of a text, or of a pair of texts, with the special tokens that tokenizer.json puts around them.

        GPT-2's puts none; RoBERTa's makes <s> text </s>, and of a pair <s> text </s></s> second </s>.

        Parameters
        ----------
        text : str
        second : str, optional

        Returns
        -------
        ids : ndarray of shape (T,), int64
        """
        for name, value in (("text", text), ("second", second)):
            if not isinstance(value, str) and not (name == "second" and value is None):
                raise TypeError(f"{name} must be a str, not {type(value).__name__}")
        return numpy.array(self.tokenizer.encode(text, second).ids, dtype=numpy.int64)

    def decode(self, ids):
        """The text of some ids, without special tokens.

        Parameters
        ----------
        ids : array_like of int, shape (T,)
            Each from 0 to vocab_size - 1.
        """
        ids = numpy.asarray(ids)
        if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
            raise ValueError(f"ids had shape {ids.shape} and dtype {ids.dtype}; they may be integers of shape (T,)")
        if ids.size and not (ids.min() >= 0 and ids.max() < self.vocab_size):
            raise ValueError(f"ids ran from {ids.min()} to {ids.max()}; each must be from 0 to {self.vocab_size - 1}")
        return self.tokenizer.decode(ids.tolist(), skip_special_tokens=True)

    def token_id(self, token):
        """The id of a token by its name, such as "<|endoftext|>", "<mask>" or "<pad>"."""
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"token was {token!r}, which the tokenizer does not have")
        return found
