"""Tokenizers of models from elsewhere, through the package `tokenizers`, which is an extra: minilora[hf]."""

from pathlib import Path
from typing import Any

from minilora.files import read_json
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.gguf_tokenizer import gguf_tokenizer
from minilora.interop.hf_tokenizer import HFTokenizer
from minilora.interop.sentencepiece_bpe import Pieces, sentencepiece_bpe
from minilora.interop.sentencepiece_file import JSON, MODEL, read_pieces
from minilora.interop.tokenizer_parts import add_frame, require_tokenizers
from minilora.limits import MOST_JSON_BYTES, one_line_errors

WHOLE, VOCAB, MERGES, SETTINGS = "tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"
ADDED = "added_tokens.json"
MOST_BYTES = 40 * 2**20  # of tokenizer.json; with a vocabulary of 256,000 ids it has some 33 MB
MOST_VALUES = 3_000_000  # in it; the package needs up to 64 bytes for each before it can reject it
AS_VALUES = {b",": 1, b"[": 7, b"{": 14}  # because a list takes some 300 bytes, and an object 600
PAIR_FRAMES = ("roberta", "xlm-roberta", "camembert")  # these frame a text as <s> text </s>


@one_line_errors()
def load_tokenizer(path: str | Path) -> HFTokenizer:
    """The tokenizer of a Hugging Face folder or a GGUF file.

    Parameters
    ----------
    path : str or Path
        A GGUF file; or a folder with tokenizer.json; or, like GPT-2's and RoBERTa's first folders, with vocab.json and
        merges.txt; or, like Llama's first ones, with SentencePiece's tokenizer.model. The end of text is eos_token in
        tokenizer_config.json or special_tokens_map.json, or eos_token_id in config.json.

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
    folder = Path(path)
    path = folder / WHOLE
    if folder.is_file():
        return gguf_tokenizer(GGUFFile(folder))
    if is_sentencepiece(folder):
        return _sentencepiece(folder)
    if not path.is_file() and not ((folder / VOCAB).is_file() and (folder / MERGES).is_file()):
        raise ValueError(f"there is no file {path}, no {MODEL}, and not both of {VOCAB} and {MERGES}")
    tokenizers = require_tokenizers(path)
    if not path.is_file():
        tokenizer = _byte_pairs(folder, tokenizers)
        return HFTokenizer(tokenizer, *(_edge(folder, tokenizer, edge) for edge in ("eos", "bos")))
    _check_size(path, MOST_BYTES)
    content = path.read_bytes()
    if sum(n * content.count(sign) for sign, n in AS_VALUES.items()) > MOST_VALUES:
        raise ValueError(f"{path} holds too much to be a tokenizer; it must have at most {MOST_VALUES:,} values")
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # the package raises nothing more specific
        raise ValueError(f"{path} is not a readable tokenizer: {error}") from None
    return HFTokenizer(tokenizer, *(_edge(folder, tokenizer, edge) for edge in ("eos", "bos")))


def is_sentencepiece(folder: Path) -> bool:
    """Whether tokenizer.model is the only tokenizer in a folder."""
    others = (folder / WHOLE).is_file() or ((folder / VOCAB).is_file() and (folder / MERGES).is_file())
    return (folder / MODEL).is_file() and not others


def folder_pieces(folder: Path) -> tuple[Pieces, int | None, int | None]:
    """What `read_pieces` says of a folder's tokenizer.model, with what the folder's other files say."""
    if (folder / ADDED).is_file() and read_json(folder / ADDED):
        raise ValueError(f"{folder / ADDED} adds tokens to {MODEL}, which minilora does not: {JSON}")
    pieces, bos, eos = read_pieces(folder / MODEL)
    if _settings(folder).get("add_prefix_space") is False:
        pieces = pieces._replace(blank_first=False)
    return pieces, bos, eos


def _sentencepiece(folder: Path) -> HFTokenizer:
    """SentencePiece's byte-pair encoding; as in transformers, a text begins with <s> if nothing says otherwise."""
    pieces, bos, eos = folder_pieces(folder)
    tokenizer, settings = sentencepiece_bpe(pieces), _settings(folder)
    of_folder = (_edge(folder, tokenizer, edge) for edge in ("bos", "eos"))
    bos, eos = (theirs if theirs is not None else ours for theirs, ours in zip(of_folder, (bos, eos), strict=True))
    first = bos if settings.get("add_bos_token", True) is True else None
    last = eos if settings.get("add_eos_token", False) is True else None
    add_frame(tokenizer, first, last, require_tokenizers(folder / MODEL))
    return HFTokenizer(tokenizer, eos, bos)


def _settings(folder: Path) -> dict[str, Any]:
    """What tokenizer_config.json says; empty if it is not there."""
    return read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}


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
    spaced = _settings(folder).get("add_prefix_space") is True  # whether a text is read with a space before it
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


def _edge(folder: Path, tokenizer: Any, edge: str) -> int | None:
    """The id that ends ("eos") or begins ("bos") a text, from the first of the folder's files that names one."""
    for name in (SETTINGS, "special_tokens_map.json"):
        if (folder / name).is_file():
            token = read_json(folder / name).get(f"{edge}_token")
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str) and tokenizer.token_to_id(token) is not None:
                return tokenizer.token_to_id(token)
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    index: Any = config.get(f"{edge}_token_id")
    index = index[0] if isinstance(index, list) and index else index
    is_id = isinstance(index, int) and not isinstance(index, bool) and tokenizer.id_to_token(max(index, 0)) is not None
    return index if is_id and index >= 0 else None
