"""Text from tokens that come one at a time, without half a character."""

from collections.abc import Sequence

from minilora.data.vocabulary import Tokenizer

REPLACEMENT = "\ufffd"  # what a tokenizer writes for bytes that are no character
PENDING = 3  # bytes that a character of UTF-8 can still lack: it has at most four
CONTEXT = 8  # tokens that are decoded again with each new one, so that the tokenizer sees what stands before it


class TextStream:
    """What each new token adds to a text.

    A token can be part of a character, such as one byte of "é". Its text comes with the token that completes it.

        text = TextStream(tokenizer)
        for token in stream(model, prompt, max_tokens=100):
            print(text.add(token), end="", flush=True)
        print(text.end())

    All pieces together are what ``tokenizer.decode`` says of all tokens, or what they add to those before them:
    SentencePiece's first token loses the blank that it begins with, and only the first.

    Parameters
    ----------
    tokenizer : ByteTokenizer or HFTokenizer
    after : sequence of int
        The tokens of the text that goes on; none if a new one begins.
    """

    def __init__(self, tokenizer: Tokenizer, after: Sequence[int] = ()) -> None:
        self._decode = tokenizer.decode
        self._ids = [int(token) for token in after[-CONTEXT:]]  # the last tokens
        self._said = self._decode(self._ids)  # what has been returned of their text, or was there before

    def add(self, token: int) -> str:
        """The text that is certain now and was not before; often a word, sometimes nothing."""
        self._ids.append(int(token))
        text = self._decode(self._ids)
        certain = text
        for _ in range(PENDING):
            certain = certain.removesuffix(REPLACEMENT)
        piece = self._go_on(certain)
        if certain == text == self._said and len(self._ids) >= 2 * CONTEXT:
            self._ids = self._ids[-CONTEXT:]
            self._said = self._decode(self._ids)
        return piece

    def end(self) -> str:
        """What is left: bytes that never became a character, as U+FFFD. The next `add` begins a new text."""
        piece = self._go_on(self._decode(self._ids))
        self._ids, self._said = [], ""
        return piece

    def _go_on(self, text: str) -> str:
        """What `text` adds to what was said; nothing while a token that is still incomplete spoils what was."""
        if not text.startswith(self._said):
            return ""
        piece, self._said = text[len(self._said) :], text
        return piece
