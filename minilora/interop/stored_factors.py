"""B, A and scale of each matrix that an adapter's file changes, under the file's own names: no model is needed.

That makes the architecture irrelevant: a folder of PEFT's for a model that minilora cannot open can be read all the
same. Whether the factors fit a model is not known here; `load_adapter`, `load_peft` and `load_gguf_adapter` check that.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy

from minilora.files import load_arrays, read_json
from minilora.interop.foreign_files import StoredTensor, check_dtype, read_tensor, tensors_in
from minilora.interop.gguf_adapter_load import gguf_factors
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.opening import is_gguf
from minilora.interop.peft_config import PeftConfig, peft_config_of, peft_type_of
from minilora.interop.peft_layouts import CONFIG, PREFIX, TENSORS
from minilora.limits import one_line_errors, shown
from minilora.methods import LoRAConfig
from minilora.methods.lora import lora_scale

ADAPTER_FILE = "adapter.safetensors"  # in a run folder
DOWN, UP = ".lora_A", ".lora_B"  # in PEFT's names


class StoredFactors(NamedTuple):
    """delta_W = scale * B @ A of one matrix, as a file holds it; for DoRA, the part before the lengths of rows."""

    B: numpy.ndarray  # (O, r)
    A: numpy.ndarray  # (r, I)
    scale: float


@one_line_errors()
def read_factors(path: str | Path) -> dict[str, StoredFactors]:
    """The factors of a LoRA adapter.

    Parameters
    ----------
    path : str or Path
        A file of minilora's or its run folder, a folder that PEFT wrote, or a GGUF file.

    Returns
    -------
    dict of str to StoredFactors
        By the name of the matrix in the file, such as "model.layers.0.self_attn.q_proj" in PEFT's.

    Raises
    ------
    ValueError
        If the file holds no LoRA adapter, A and B do not fit each other, or it is damaged.
    """
    path = Path(path)
    if path.is_dir() and (path / CONFIG).is_file():
        content = read_json(path / CONFIG)
        if (kind := peft_type_of(content)) != "LORA":
            raise ValueError(
                f"{path / CONFIG}: peft_type was {shown(kind)}; it must be 'LORA' to have an A and a B alone"
            )
        return factors_of_peft(peft_config_of(content, path / CONFIG), tensors_in(path / TENSORS), path / TENSORS)
    if path.is_dir():
        path = path / ADAPTER_FILE
    if is_gguf(path):
        return factors_of_gguf(GGUFFile(path))
    arrays, about = load_arrays(path, "lora")
    return factors_of_arrays(arrays, lora_config(about.get("config"), path), path)


def lora_config(settings: object, path: Path) -> LoRAConfig:
    """The configuration that one of minilora's files holds; ValueError if it is none."""
    try:
        return LoRAConfig(**settings)  # type: ignore[arg-type]  # anything can be in a file
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} has no readable configuration of LoRA: {error}") from None


def factors_of_arrays(arrays: Mapping[str, numpy.ndarray], config: LoRAConfig, path: Path) -> dict[str, StoredFactors]:
    """The factors in one of minilora's files.

    PiSSA's delta_W is scale (B A - B0 A0), which is a product of rank 2 r: (B, -B0) (A; A0).
    """
    factors = {}
    for name in arrays:
        layer, _, letter = name.rpartition(".")
        if letter != "A" or f"{layer}.B" not in arrays:
            continue
        A, B = arrays[name], arrays[f"{layer}.B"]
        _check_pair(A, B, layer, path)
        scale = lora_scale(config.alpha_of(layer), config.rank_of(layer), config.rslora)
        if f"{layer}.A0" in arrays and f"{layer}.B0" in arrays:
            A0, B0 = arrays[f"{layer}.A0"], arrays[f"{layer}.B0"]
            if A0.shape != A.shape or B0.shape != B.shape:
                shapes = f"A0 of shape {A0.shape} and B0 {B0.shape}"
                raise ValueError(f"{path} has {shapes} for {shown(layer)}; they must be {A.shape} and {B.shape}")
            A, B = numpy.concatenate([A, A0]), numpy.concatenate([B, -B0], axis=1)
        factors[layer] = StoredFactors(B, A, scale)
    return factors


def factors_of_peft(config: PeftConfig, stored: Mapping[str, StoredTensor], path: Path) -> dict[str, StoredFactors]:
    """The factors in a file of PEFT's, without an embedding's and a convolution's, which are no pair of matrices."""
    factors: dict[str, StoredFactors] = {}
    for name, tensor in stored.items():
        module, found, end = name.removeprefix(PREFIX).rpartition(DOWN)
        other = stored.get(f"{name.removesuffix(DOWN + end)}{UP}{end}")
        if not found or other is None or not len(tensor.shape) == len(other.shape) == 2:
            continue
        if module in factors:
            raise ValueError(f"{path} holds A and B of {shown(module)} twice; it must hold one adapter")
        check_dtype(tensor)
        check_dtype(other)
        A, B = read_tensor(tensor), read_tensor(other)
        _check_pair(A, B, module, path)
        _, alpha = config.rank_and_alpha(module)
        factors[module] = StoredFactors(B, A, lora_scale(alpha, len(A), config.use_rslora))
    return factors


def factors_of_gguf(file: GGUFFile) -> dict[str, StoredFactors]:
    """The factors in a file of llama.cpp's."""
    found = {matrix.removesuffix(".weight"): both for matrix, both in gguf_factors(file).items()}
    return {matrix: StoredFactors(f.B, f.A, lora_scale(f.alpha, f.rank)) for matrix, f in found.items()}


def _check_pair(A: numpy.ndarray, B: numpy.ndarray, name: str, path: Path) -> None:
    if A.ndim != 2 or B.ndim != 2 or A.shape[0] != B.shape[1] or 0 in (*A.shape, *B.shape):
        shapes = f"A of shape {A.shape} and B of shape {B.shape}"
        raise ValueError(f"{path} has {shapes} for {shown(name)}; they must be (r, I) and (O, r)")
