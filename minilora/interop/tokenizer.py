"""A Hugging Face tokenizer through the package `tokenizers`, which is an extra: minilora[hf]."""

from pathlib import Path
from typing import Any

import numpy

from minilora.files import read_json
from minilora.limits import MOST_JSON_BYTES, one_line_errors, shown

WHOLE, VOCAB, MERGES, SETTINGS = "tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"
MOST_BYTES = 40 * 2**20  # of tokenizer.json; with a vocabulary of 256,000 ids it has some 33 MB
MOST_VALUES = 3_000_000  # in it; the package needs up to 64 bytes for each before it can reject it
AS_VALUES = {b",": 1, b"[": 7, b"{": 14}  # because a list takes some 300 bytes, and an object 600
PAIR_FRAMES = ("roberta", "xlm-roberta", "camembert")  # these frame a text as <s> text </s>


@one_line_errors()
def load_tokenizer(folder: str | Path) -> "HFTokenizer":
    """The tokenizer of a Hugging Face folder.

    Parameters
    ----------
    folder : str or Path
        A folder with tokenizer.json; or, like GPT-2's and RoBERTa's first folders, with vocab.json and merges.txt. The
        end of text is eos_token in tokenizer_config.json or special_tokens_map.json, or eos_token_id in config.json.

    Returns
    -------
    tokenizer : HFTokenizer

    Raises
    ------
    ValueError
        If there are no such files, or they cannot be read.
    RuntimeError
        If the package `tokenizers` is not installed.
    """
    folder = Path(folder)
    path = folder / WHOLE
    if not path.is_file() and not ((folder / VOCAB).is_file() and (folder / MERGES).is_file()):
        raise ValueError(f"there is no file {path}, and not both of {VOCAB} and {MERGES}")
    try:
        import tokenizers
    except ImportError:
        raise RuntimeError(
            f"{path} is read by the package tokenizers, which is not installed: pip install 'tokenizers>=0.20'"
        ) from None
    if not path.is_file():
        tokenizer = _byte_pairs(folder, tokenizers)
        return HFTokenizer(tokenizer, _end_of_text(folder, tokenizer))
    _check_size(path, MOST_BYTES)
    content = path.read_bytes()
    if sum(n * content.count(sign) for sign, n in AS_VALUES.items()) > MOST_VALUES:
        raise ValueError(f"{path} holds too much to be a tokenizer; it must have at most {MOST_VALUES:,} values")
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # the package raises nothing more specific
        raise ValueError(f"{path} is not a readable tokenizer: {error}") from None
    return HFTokenizer(tokenizer, _end_of_text(folder, tokenizer))


def _check_size(path: Path, most: int) -> None:
    if (size := path.stat().st_size) > most:
        raise ValueError(f"{path} has {size:,} bytes; it must have at most {most:,}")


def _byte_pairs(folder: Path, tokenizers: Any) -> Any:
    """Byte-level byte-pair encoding, GPT-2's and RoBERTa's, from its two files."""
    vocabulary, merges = read_json(folder / VOCAB), folder / MERGES
    if sorted(map(repr, vocabulary.values())) != sorted(map(repr, range(len(vocabulary)))):
        raise ValueError(f"{folder / VOCAB}: its ids must be the integers from 0 to {len(vocabulary) - 1}, each once")
    _check_size(merges, MOST_JSON_BYTES)
    try:
        lines = merges.read_text(encoding="utf-8").split("\n")
        pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, pairs))
    except Exception as error:  # the package raises nothing more specific
        raise ValueError(f"{folder / VOCAB} and {merges} are not a readable tokenizer: {error}") from None
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    spaced = settings.get("add_prefix_space") is True  # whether a text is read with a space before it
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    special = [token for token in ("<|endoftext|>", "<s>", "<pad>", "</s>", "<unk>") if token in vocabulary]
    tokenizer.add_special_tokens(special)
    if "<mask>" in vocabulary:  # it absorbs the space before it, as in the tokenizer.json of roberta-base
        tokenizer.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True, normalized=False)])
    if (folder / "config.json").is_file() and read_json(folder / "config.json").get("model_type") in PAIR_FRAMES:
        ends = [(token, vocabulary.get(token)) for token in ("</s>", "<s>")]
        if any(index is None for _, index in ends):
            raise ValueError(f"{folder / VOCAB} lacks <s> or </s>, between which the model reads a text")
        tokenizer.post_processor = tokenizers.processors.RobertaProcessing(*ends, add_prefix_space=spaced)
    return tokenizer


def _end_of_text(folder: Path, tokenizer: Any) -> int | None:
    """The id that ends a text, from the first of the folder's files that names one; None if none does."""
    for name in (SETTINGS, "special_tokens_map.json"):
        if (folder / name).is_file():
            token = read_json(folder / name).get("eos_token")
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str) and tokenizer.token_to_id(token) is not None:
                return tokenizer.token_to_id(token)
    index: Any = read_json(folder / "config.json").get("eos_token_id") if (folder / "config.json").is_file() else None
    index = index[0] if isinstance(index, list) and index else index
    is_id = isinstance(index, int) and not isinstance(index, bool) and tokenizer.id_to_token(max(index, 0)) is not None
    return index if is_id and index >= 0 else None


class HFTokenizer:
    """From text to token ids and back, with the interface of `data.ByteTokenizer`.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        Its own padding and truncation are switched off: a text is encoded whole, and batches do the rest.
    end_of_text : int, optional
        The id that follows a text.
    """

    unused_rows = 1024  # embeddings are often padded: Qwen2.5's has 271 rows more than ids, Phi-2's 905

    def __init__(self, tokenizer: Any, end_of_text: int | None = None) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.vocab_size: int = tokenizer.get_vocab_size()
        self._end_of_text = end_of_text

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

    def encode(self, text: str, second: str | None = None) -> numpy.ndarray:
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
            Each from 0 to vocab_size - 1.
        """
        ids = numpy.asarray(ids)
        if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
            raise ValueError(f"ids had shape {ids.shape} and dtype {ids.dtype}; they must be integers of shape (T,)")
        if ids.size and not (ids.min() >= 0 and ids.max() < self.vocab_size):
            raise ValueError(f"ids ran from {ids.min()} to {ids.max()}; each must be from 0 to {self.vocab_size - 1}")
        return self.tokenizer.decode(ids.tolist(), skip_special_tokens=True)

    def token_id(self, token: str) -> int:
        """The id of a token by its name, such as "<|endoftext|>", "<mask>" or "<pad>"."""
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"token was {shown(token)}, which the tokenizer does not have")
        return found
