"""A tokenizer of the package `tokenizers`, with the interface of minilora's own."""

from typing import Any

import numpy

from minilora.limits import shown


class HFTokenizer:
    """From text to token ids and back, with the interface of `data.ByteTokenizer`.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        Its own padding and truncation are switched off: a text is encoded whole, and batches do the rest.
    end_of_text : int, optional
        The id that follows a text.
    begin_of_text : int, optional
        The id that the model's texts begin with, if it has one.

    Attributes
    ----------
    vocab_size : int
    bos, eos : str
        The tokens that begin and end a text, as chat templates name them; "" if there is none.
    """

    unused_rows = 1024  # embeddings are often padded: Qwen2.5's has 271 rows more than ids, Phi-2's 905

    def __init__(self, tokenizer: Any, end_of_text: int | None = None, begin_of_text: int | None = None) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.vocab_size: int = tokenizer.get_vocab_size()
        self._end_of_text = end_of_text
        self.bos, self.eos = ("" if i is None else tokenizer.id_to_token(i) for i in (begin_of_text, end_of_text))

    @property
    def end_of_text(self) -> int:
        """The id that follows a text.

        Raises
        ------
        ValueError
            If the tokenizer's folder did not name one.
        """
        if self._end_of_text is None:
            raise ValueError("the tokenizer's folder does not say what ends a text: eos_token in tokenizer_config.json")
        return self._end_of_text

    def encode(
        self, text: str, second: str | None = None, *, frame: bool = True, control: bool = True
    ) -> numpy.ndarray:
        """The ids of a text, or of a pair of texts.

        Parameters
        ----------
        text : str
        second : str, optional
        frame : bool
            Whether to put around the text what the tokenizer puts around texts. GPT-2's and SmolLM2's put nothing;
            Llama 3's <|begin_of_text|> before it; RoBERTa's makes <s> text </s>, and of a pair
            <s> text </s></s> second </s>. What a chat template wrote has it already, so say False there.
        control : bool
            Whether a control token that is written in the text, such as "<|im_end|>", is that token: True for what a
            chat template wrote. With False it is plain text, of several tokens, and cannot end a message: so encode
            what comes from someone whom you do not trust.

        Returns
        -------
        ids : ndarray of shape (T,), int64
        """
        for name, value in (("text", text), ("second", second)):
            if not isinstance(value, str) and not (name == "second" and value is None):
                raise TypeError(f"{name} must be a str, not {type(value).__name__}")
        self.tokenizer.encode_special_tokens = not control
        ids = self.tokenizer.encode(text, second, add_special_tokens=frame).ids
        return numpy.array(ids, dtype=numpy.int64)

    def encode_with_starts(self, text: str) -> tuple[numpy.ndarray, numpy.ndarray]:
        """The ids of a text without any special tokens around them, and where in the text each token begins.

        Parameters
        ----------
        text : str

        Returns
        -------
        ids, starts : ndarray of shape (T,), int64
            starts in characters; tokens that share one, as bytes do, begin at the same place.
        """
        self.tokenizer.encode_special_tokens = False
        found = self.tokenizer.encode(text, add_special_tokens=False)
        starts = [start for start, _ in found.offsets]
        return numpy.array(found.ids, dtype=numpy.int64), numpy.array(starts, dtype=numpy.int64)

    @property
    def control_tokens(self) -> list[str]:
        """The texts that are control tokens wherever they stand, such as "<|im_end|>"."""
        added = self.tokenizer.get_added_tokens_decoder().values()
        return [token.content for token in added if token.special]

    def decode(self, ids: Any) -> str:
        """The text of some ids, without special tokens.

        Parameters
        ----------
        ids : array_like of int, shape (T,)
            Each from 0 to vocab_size + unused_rows - 1: a model may choose a row that no token has, which is no text.
        """
        ids = numpy.asarray(ids)
        if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
            raise ValueError(f"ids had shape {ids.shape} and dtype {ids.dtype}; they must be integers of shape (T,)")
        rows = self.vocab_size + self.unused_rows
        if ids.size and not (ids.min() >= 0 and ids.max() < rows):
            raise ValueError(f"ids ran from {ids.min()} to {ids.max()}; each must be from 0 to {rows - 1}")
        return self.tokenizer.decode(ids.tolist(), skip_special_tokens=True)

    def token_id(self, token: str) -> int:
        """The id of a token by its name, such as "<|endoftext|>", "<mask>" or "<pad>"."""
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"token was {shown(token)}, which the tokenizer does not have")
        return found
