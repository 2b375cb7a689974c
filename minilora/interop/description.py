"""What a model's or an adapter's file or folder is, told from its headers and its JSON: no model is made.

Of a LoRA adapter the norms of delta_W are computed too. They need no matrix of W's size:

    ||scale B A||^2 = scale^2 tr(A^T B^T B A) = scale^2 sum of (B^T B) * (A A^T), entry by entry, both (r, r)
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy

from minilora.files import load_arrays, read_json
from minilora.interop.foreign_files import StoredTensor, read_about, tensors_in
from minilora.interop.gguf_adapter_load import ALPHA
from minilora.interop.gguf_blocks import type_name
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.hf_folder import INDEX, WEIGHTS
from minilora.interop.opening import MODEL_FILE, is_gguf
from minilora.interop.peft_config import peft_config_of, peft_type_of
from minilora.interop.peft_layouts import CONFIG, TENSORS
from minilora.interop.peft_load import OTHER_KINDS
from minilora.interop.stored_factors import (
    ADAPTER_FILE,
    StoredFactors,
    factors_of_arrays,
    factors_of_gguf,
    factors_of_peft,
    lora_config,
)
from minilora.limits import one_line_errors
from minilora.methods import METHODS, LoRAConfig
from minilora.methods.registry import KINDS as ADAPTER_KINDS
from minilora.models.model_file import KINDS as MODEL_KINDS

RESULT, RUN = "result.json", "config.json"
SECTIONS = ("settings", "shape", "trained_on")  # of a description: what has values of its own
PEFTS_SETTINGS = {  # of methods other than LoRA, by our words
    "rank": "r",
    "targets": "target_modules",
    "feedforward": "feedforward_modules",
    "tokens": "token_indices",
    "length": "num_virtual_tokens",
}
TEXTS = ("opened_from", "base", "tokenizer", "command")


@one_line_errors()
def describe(path: str | Path) -> dict[str, Any]:
    """What a file or folder is.

    Parameters
    ----------
    path : str or Path
        An adapter's or a model's file that minilora wrote, a run folder, an adapter's folder that PEFT wrote, a Hugging
        Face folder, or a GGUF file of either.

    Returns
    -------
    dict
        holds ("model" or "adapter"), format, bytes, and what is known besides: kind, method, settings, base, shape,
        parameters, dtypes, trained, norms (||delta_W|| by layer), trained_on, command.

    Raises
    ------
    ValueError
        If it is none of these, or damaged.
    """
    path = Path(path)
    if is_gguf(path):
        return _gguf(path)
    if path.is_file():
        return _file(path) | _run(path.parent, path)
    if not path.is_dir():
        raise ValueError(f"path was {path}; there is no such file or folder")
    if (path / CONFIG).is_file():
        return _peft(path)
    if (path / RUN).is_file() and "model_type" in (config := read_json(path / RUN)):
        return _hugging_face(path, config)
    for name in (ADAPTER_FILE, MODEL_FILE):
        if (path / name).is_file():
            return _file(path / name) | _run(path, path / name)
    raise ValueError(f"path was {path}, a folder with neither a model nor an adapter in it")


def in_words(told: Mapping[str, Any]) -> dict[str, str]:
    """A description as a label and a value each, for a person; texts from the file are as they are there."""
    what = told["kind"] if told["holds"] == "model" else told["method"]
    kinds = " and ".join(f"{dtype}" for dtype in told["dtypes"])
    values = {
        told["holds"]: f"{what}, in {told['format']}'s format",
        "numbers": f"{told.get('parameters', told.get('trained')):,}, {kinds}; {told['bytes'] / 1e6:,.2f} MB",
    }
    values |= {
        section.replace("_", " "): ", ".join(
            f"{key} {_in_words(value)}" for key, value in told[section].items() if value
        )
        for section in SECTIONS
        if told.get(section)
    }
    return values | {key.replace("_", " "): told[key] for key in TEXTS if key in told}


def _in_words(value: Any) -> str:
    """A value of a setting."""
    if isinstance(value, (list, tuple)):
        return "/".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _file(path: Path) -> dict[str, Any]:
    """A safetensors file of minilora's."""
    about = read_about(path)
    if about.get("kind") not in {*MODEL_KINDS, *ADAPTER_KINDS}:
        raise ValueError(f"{path} is not a file of a model or an adapter that minilora wrote")
    arrays, about = load_arrays(path, *MODEL_KINDS, *ADAPTER_KINDS)
    told = {
        "format": "minilora",
        "bytes": path.stat().st_size,
        "dtypes": dict(Counter(str(array.dtype) for array in arrays.values())),
        **{name: about[name] for name in ("command", "opened_from", "tokenizer") if isinstance(about.get(name), str)},
    }
    n, config = sum(array.size for array in arrays.values()), about.get("config")
    settings = config if isinstance(config, dict) else {}
    if settings.get("init") != "lora-ga":  # which alone uses it
        settings = {name: value for name, value in settings.items() if name != "gamma"}
    if about["kind"] in MODEL_KINDS:
        return {"holds": "model", "kind": about["kind"], **told, "shape": settings, "parameters": n}
    made = {"holds": "adapter", "method": about["kind"], **told, "settings": settings, "trained": n}
    if isinstance(about.get("base"), str):
        made["base"] = about["base"]
    if about["kind"] != "lora":
        return made
    lora = lora_config(config, path)
    return {**made, "method": _variant(lora), "norms": _norms(factors_of_arrays(arrays, lora, path))}


def _variant(config: LoRAConfig) -> str:
    """LoRA, or the variant of it, as `METHODS` calls it."""
    others = ("rslora", "dora", "init", "freeze_A")
    same = (name for name, known in METHODS.items() if isinstance(known, LoRAConfig) and name != "lora")
    for name in same:
        if all(getattr(METHODS[name], setting) == getattr(config, setting) for setting in others):
            return name
    return "lora"


def _norms(factors: Mapping[str, StoredFactors]) -> dict[str, float]:
    """||delta_W|| by the name of the matrix; for DoRA, of the part that is scale * B @ A."""
    return {name: norm_of_product(*f) for name, f in factors.items()}


def norm_of_product(B: numpy.ndarray, A: numpy.ndarray, scale: float) -> float:
    """||scale B A||, the Frobenius norm, from two (r, r) matrices."""
    A, B = A.astype(numpy.float64), B.astype(numpy.float64)
    squared = ((B.T @ B) * (A @ A.T)).sum()  # (r, r), (r, r) -> ()
    return abs(scale) * float(max(squared, 0.0)) ** 0.5


def _run(folder: Path, file: Path) -> dict[str, Any]:
    """What the run in a file's folder says of it, if the run's result names the file."""
    if not (folder / RESULT).is_file():
        return {}
    result = read_json(folder / RESULT)
    of_file, config, task = (result.get(name) for name in ("file", "config", "task"))
    if not isinstance(of_file, dict) or of_file.get("name") != file.name or of_file.get("bytes") != file.stat().st_size:
        return {}
    train = config.get("train") if isinstance(config, dict) else None
    told = {
        "task": task.get("name") if isinstance(task, dict) else None,
        **{name: train.get(name) for name in ("steps", "batch_size", "lr") if isinstance(train, dict)},
        **{name: result.get(name) for name in ("loss", "bits_per_byte", "accuracy", "slot_exact", "date")},
    }
    kept = {name: value for name, value in told.items() if isinstance(value, (str, int, float))}
    named = {name: result[name] for name in ("opened_from", "command") if isinstance(result.get(name), str)}
    return {**named, "trained_on": kept}


def _peft(folder: Path) -> dict[str, Any]:
    """An adapter that PEFT saved."""
    content, stored = read_json(folder / CONFIG), tensors_in(folder / TENSORS)
    base = content.get("base_model_name_or_path")
    if (kind := peft_type_of(content)) in OTHER_KINDS:
        return {
            "holds": "adapter",
            "method": kind.lower().replace("_", "-"),
            "format": "PEFT",
            **_sizes(stored),
            "settings": {
                name: content[field] for name, field in PEFTS_SETTINGS.items() if content.get(field) is not None
            },
            **({"base": base} if isinstance(base, str) else {}),
            "trained": _count(stored),
        }
    config = peft_config_of(content, folder / CONFIG)
    return {
        "holds": "adapter",
        "method": "dora" if config.use_dora else "rslora" if config.use_rslora else "lora",
        "format": "PEFT",
        **_sizes(stored),
        "settings": {"rank": config.r, "alpha": config.lora_alpha, "targets": config.target_modules},
        **({"base": base} if isinstance(base, str) else {}),
        "trained": _count(stored),
        "norms": _norms(factors_of_peft(config, stored, folder / TENSORS)),
    }


def _hugging_face(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """A model's folder in Hugging Face's layout."""
    files = [folder / WEIGHTS] if (folder / WEIGHTS).is_file() else sorted(folder.glob("model-*.safetensors"))
    if not files:
        raise ValueError(f"{folder} has neither {WEIGHTS} nor {INDEX}")
    stored = {name: tensor for file in files for name, tensor in tensors_in(file).items()}
    return {
        "holds": "model",
        "kind": config["model_type"],
        "format": "Hugging Face",
        **_sizes(stored),
        "shape": {name: value for name, value in config.items() if isinstance(value, int) and value is not True},
        "parameters": _count(stored),
    }


def _sizes(stored: Mapping[str, StoredTensor]) -> dict[str, Any]:
    files = {tensor.file for tensor in stored.values()}
    dtypes = Counter(tensor.dtype for tensor in stored.values())
    return {"bytes": sum(file.stat().st_size for file in files), "dtypes": dict(dtypes)}


def _count(stored: Mapping[str, StoredTensor]) -> int:
    return sum(int(numpy.prod(tensor.shape, dtype=numpy.int64)) for tensor in stored.values())


def _gguf(path: Path) -> dict[str, Any]:
    """A model or an adapter in llama.cpp's format."""
    file = GGUFFile(path)
    kind = file.get("general.architecture", str, "unknown")
    numbers = {name.removeprefix(f"{kind}."): value for name, value in file.fields.items() if name.startswith(kind)}
    n = sum(int(numpy.prod(tensor.shape, dtype=numpy.int64)) for tensor in file.tensors.values())
    told = {
        "format": "GGUF",
        "bytes": path.stat().st_size,
        "dtypes": dict(Counter(type_name(tensor.kind) for tensor in file.tensors.values())),
        **({"base": file.fields["general.name"]} if isinstance(file.fields.get("general.name"), str) else {}),
    }
    if file.fields.get("general.type") != "adapter":
        shape = {name: value for name, value in numbers.items() if isinstance(value, (int, float))}
        return {"holds": "model", "kind": kind, **told, "shape": shape, "parameters": n}
    factors = factors_of_gguf(file)
    norms = _norms(factors)
    settings = {
        "rank": sorted({len(f.A) for f in factors.values()}),
        "alpha": file.get(ALPHA, float, 0.0),
        "targets": sorted({layer.rpartition(".")[2] for layer in norms}),
    }
    return {"holds": "adapter", "method": "lora", **told, "settings": settings, "trained": n, "norms": norms}
