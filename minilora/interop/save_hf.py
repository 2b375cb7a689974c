"""A model as a Hugging Face folder, which transformers, PEFT and minilora read.

A loader's Sources say which view of which tensor each parameter is. Written into instead of read from, the same views
fill the tensors, so that what goes out and what comes in cannot differ.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import to_numpy
from minilora.arrays.finite import check_finite
from minilora.files import write_together
from minilora.interop.deberta import describe_deberta
from minilora.interop.foreign_files import write_tensors
from minilora.interop.gpt2 import describe_gpt2
from minilora.interop.hf_folder import CONFIG, WEIGHTS
from minilora.interop.llama import describe_llama
from minilora.interop.roberta import describe_roberta
from minilora.interop.sources import Description, Source
from minilora.interop.tokenizer_out import copied_files, tokenizer_files
from minilora.models.deberta import Deberta
from minilora.models.encoder import Encoder
from minilora.models.gpt import GPT
from minilora.models.llama import Llama
from minilora.models.model import Model
from minilora.models.model_file import plain_kind

LARGEST = {name: float(numpy.finfo(name).max) for name in ("float64", "float32", "float16")}
LARGEST["bfloat16"] = (2 - 2**-7) * 2.0**127


def save_hf(
    model: Model,
    folder: str | Path,
    *,
    dtype: str | None = None,
    tokenizer: Any = None,
    tokenizer_from: str | Path | None = None,
    chat_template: str | None = None,
) -> None:
    """Write a model as a folder that transformers reads: config.json and model.safetensors.

    A GPT becomes a GPT2LMHeadModel; a Llama a LlamaForCausalLM, or a Qwen2ForCausalLM where q, k and v have biases and
    o has none (a Mistral without a sliding window is a Llama); RoBERTa and DeBERTa keep their names. The special
    tokens' numbers stand in config.json where a tokenizer says them.

    Parameters
    ----------
    model : GPT, Llama, Roberta, RobertaForMaskedLM, RobertaForClassification, Deberta or DebertaForClassification
        Without adapters: an adapter has a folder of its own (`save_peft`), or is merged and removed first.
    folder : str or Path
        It is made if it does not exist. Files of other names in it stay.
    dtype : {"float32", "float64", "float16", "bfloat16"}, optional
        Of the weights in the file; the model's own, if not given.
    tokenizer : ByteTokenizer, EncoderTokenizer or HFTokenizer, optional
        Written as tokenizer.json and tokenizer_config.json, which transformers' AutoTokenizer reads.
    tokenizer_from : str or Path, optional
        A folder that a tokenizer's files, and generation_config.json, are copied from.
    chat_template : str, optional
        Jinja's source, written beside `tokenizer`.

    Raises
    ------
    ValueError
        If the model holds adapters, a value is not finite or too large for the dtype, or an argument is not one of
        those above. Nothing is then written.
    TypeError
        If the model is of another kind.
    """
    if dtype not in (None, *LARGEST):
        raise ValueError(f"dtype was {dtype!r}; it must be one of {', '.join(map(repr, LARGEST))}")
    if tokenizer is not None and tokenizer_from is not None:
        raise ValueError("tokenizer and tokenizer_from were both given; it must be one of the two")
    if chat_template is not None and tokenizer is None:
        raise ValueError("chat_template was given without tokenizer; it must be given with the tokenizer that it is of")
    plain_kind(model)
    folder, described = Path(folder), _describe(model)
    dtype = dtype or str(next(iter(model.parameters())).data.dtype)
    files: dict[str, Any] = {}
    if tokenizer is not None:
        files = tokenizer_files(tokenizer, model.longest_input, chat_template)
    elif tokenizer_from is not None:
        files = copied_files(Path(tokenizer_from))
    special = files.pop(CONFIG, {})
    fields = described.config | {"dtype": dtype, "bos_token_id": None, "eos_token_id": None} | special
    parts: dict[str, list[Source]] = {}  # by tensor
    for source in described.sources:
        parts.setdefault(source.tensor, []).append(source)
    shapes = {described.full_name(name): sources[0].shape for name, sources in parts.items()}
    _check(model, dtype)
    files[WEIGHTS] = lambda path: write_tensors(path, shapes, dtype, _values(model, parts))
    files[CONFIG] = json.dumps(fields, indent=1) + "\n"
    write_together({folder / name: content for name, content in files.items()})


def _describe(model: Model) -> Description:
    if isinstance(model, GPT):
        return describe_gpt2(model)
    if isinstance(model, Llama):
        return describe_llama(model)
    encoder = model if isinstance(model, Encoder) else model.encoder  # type: ignore[attr-defined]
    return describe_deberta(model) if isinstance(encoder, Deberta) else describe_roberta(model)  # type: ignore[arg-type]


def _check(model: Model, dtype: str) -> None:
    """Raise ValueError unless all weights are finite, also in the file's dtype."""
    parameters = dict(model.named_parameters())
    check_finite({name: p.data for name, p in parameters.items()}, "the model")
    for name, p in parameters.items():
        if (largest := float(abs(p.data).max())) > LARGEST[dtype]:
            raise ValueError(f"{name} holds {largest:.4g}; in {dtype} a value must be at most {LARGEST[dtype]:.5g}")


def _values(model: Model, parts: dict[str, list[Source]]) -> Iterator[numpy.ndarray]:
    """The tensors' values, one after another."""
    parameters = dict(model.named_parameters())
    for sources in parts.values():
        values = numpy.empty(sources[0].shape, parameters[sources[0].parameter].data.dtype)
        for source in sources:
            source.convert(values)[...] = to_numpy(parameters[source.parameter].data)  # a view of a part
        yield values
