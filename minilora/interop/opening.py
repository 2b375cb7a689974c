"""Opens a language model by its name: its weights, and the tokenizer that belongs to them.

A model's ids mean nothing without its tokenizer, so the two are opened as one. Where a tokenizer is found:

- The bundled models read bytes, and so does a file of minilora's whose model has their vocabulary.
- A Hugging Face folder and a .gguf file hold their own.
- A file that minilora wrote for a model from elsewhere names the folder or file that the model came from, and a
  tokenizer.json next to it takes its place.

It is read when it is first asked for: counting a model's parameters needs none, and no package to read one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from minilora.data import ByteTokenizer, EncoderTokenizer, Template, Tokenizer, template_for
from minilora.files import read_json
from minilora.interop.chat_template_of import chat_template_of
from minilora.interop.deberta import load_deberta
from minilora.interop.foreign_files import read_about
from minilora.interop.gguf_file import MAGIC
from minilora.interop.gguf_load import load_gguf
from minilora.interop.gpt2 import load_gpt2
from minilora.interop.llama import FAMILY as LLAMAS
from minilora.interop.llama import load_llama
from minilora.interop.roberta import FAMILY as ROBERTAS
from minilora.interop.roberta import load_roberta
from minilora.interop.sentencepiece_file import MODEL
from minilora.interop.smollm2 import smollm2_file
from minilora.interop.tokenizer import MERGES, VOCAB, WHOLE, load_tokenizer
from minilora.limits import one_line_errors, shown
from minilora.methods import quantize
from minilora.models import load_bundled, load_model
from minilora.models.decoder import Decoder
from minilora.models.model import Model

BUNDLED, SMOLLM2 = ("decoder", "encoder"), "smollm2"
MODEL_FILE = "model.safetensors"
LOADERS: dict[str, Callable[..., Model]] = {  # of Hugging Face's folders, by their model_type
    "gpt2": load_gpt2,
    **dict.fromkeys(LLAMAS, load_llama),
    **dict.fromkeys(ROBERTAS, load_roberta),
    "deberta-v2": load_deberta,
}


@dataclass(frozen=True)
class OpenedModel:
    """A model with what belongs to it.

    Parameters
    ----------
    model : Model
        Everything in it is trainable.
    name : str
        What it was opened by.
    source : str, optional
        The folder or file of its tokenizer; None if it reads bytes.
    """

    model: Model
    name: str
    source: str | None = None

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer.

        Raises
        ------
        ValueError
            If there is none, or it cannot be read.
        RuntimeError
            If the package that reads it is not installed; the message says how to install it.
        """
        if self.source is None:
            return ByteTokenizer() if isinstance(self.model, Decoder) else EncoderTokenizer()
        if not self.source or not Path(self.source).exists():
            gone = (
                f"the tokenizer of {self.source}, which is gone" if self.source else "a tokenizer that it does not name"
            )
            raise ValueError(f"model was {self.name}, which reads the ids of {gone}; {WHOLE} must be next to its file")
        return load_tokenizer(self.source)

    @cached_property
    def chat_template(self) -> str | None:
        """The template, in Jinja, that came with the model; None if there is none."""
        return None if self.source is None else chat_template_of(self.source)

    @cached_property
    def template(self) -> Template:
        """What writes conversations down for the model: its own template, or the plain one."""
        return template_for(self.tokenizer, self.chat_template)

    def about(self) -> dict[str, str]:
        """What a file made from this model says of it: its name, and where its tokenizer is found again."""
        source = {} if self.source is None else {"tokenizer": str(Path(self.source).resolve())}
        return {"opened_from": self.name, **source}


@one_line_errors()
def open_language_model(
    model: str | Path, *, dtype: str = "float32", device: str = "cpu", bits: int | str | None = None
) -> OpenedModel:
    """Open a model by any of its names.

    Parameters
    ----------
    model : str or Path
        "decoder" or "encoder", which come with minilora; "smollm2", if its package is installed; a Hugging Face folder;
        a .gguf file; a file that minilora saved, or the run folder of full fine-tuning.
    dtype : {"float32", "float64"}
    device : {"cpu", "gpu", "auto"}
    bits : {4, 8, "nf4", "q4_1", "q8_0"}, optional
        Quantise it: see `minilora.methods.quantize`. What a .gguf file holds in blocks stays in these, whatever their
        bits.

    Returns
    -------
    opened : OpenedModel

    Raises
    ------
    ValueError
        If there is no such model, or it is one that minilora does not compute; the message names it.
    RuntimeError
        If a package that it needs is not installed; the message says how to install it.
    """
    opened = _opened(model, dtype=dtype, device=device, keep_blocks=bits is not None)
    if bits is not None:
        quantize(opened.model, bits)
    return opened


def _opened(model: str | Path, *, dtype: str, device: str, keep_blocks: bool) -> OpenedModel:
    name, path, how = str(model), Path(model), {"dtype": dtype, "device": device}
    if name in BUNDLED:
        return OpenedModel(load_bundled(name, **how), name)
    if name == SMOLLM2:
        return OpenedModel(load_gguf(smollm2_file(), **how, keep_blocks=keep_blocks), name, str(smollm2_file()))
    if path.is_dir():
        config = read_json(path / "config.json") if (path / "config.json").is_file() else {}
        if "model_type" in config:
            kind = config["model_type"]
            if not isinstance(kind, str) or kind not in LOADERS:
                raise ValueError(
                    f"model was {name}, a model of type {shown(kind)}; it must be one of {', '.join(LOADERS)}"
                )
            return OpenedModel(LOADERS[kind](path, **how), name, name)
        if not (path / MODEL_FILE).is_file():
            raise ValueError(f"model was {name}, a folder without a model; it must have config.json or {MODEL_FILE}")
        path /= MODEL_FILE
    if not path.exists():
        raise ValueError(f"model was {name}; there is no such file or folder")
    if is_gguf(path):
        return OpenedModel(load_gguf(path, **how, keep_blocks=keep_blocks), name, name)
    opened = load_model(path, **how)
    return OpenedModel(opened, name, _source_of(path, opened))


def is_gguf(path: str | Path) -> bool:
    """Whether a path is a file that says that it is in llama.cpp's format, or is called so."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC or Path(path).suffix.lower() == ".gguf"


def has_tokenizer(folder: Path) -> bool:
    """Whether the files of a tokenizer are in a folder."""
    return any(all((folder / name).is_file() for name in names) for names in ((WHOLE,), (VOCAB, MERGES), (MODEL,)))


def _source_of(path: Path, model: Model) -> str | None:
    """Where the tokenizer of a model in one of minilora's files is; None if the model reads bytes."""
    named = read_about(path).get("tokenizer")
    of_bytes = (ByteTokenizer if isinstance(model, Decoder) else EncoderTokenizer).vocab_size
    if not isinstance(named, str) and model.config.vocab_size == of_bytes:
        return None
    lacks = not isinstance(named, str) or not Path(named).exists()
    return str(path.parent) if lacks and has_tokenizer(path.parent) else named if isinstance(named, str) else ""
