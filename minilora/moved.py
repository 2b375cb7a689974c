"""Names of the previous version: they still work in this one, with a DeprecationWarning that says where each is now.

A package delegates the names that it lacks, ``__getattr__ = names_before(__name__)``. A module that has moved as a
whole can still be imported; its names come from the new place.
"""

import functools
import importlib
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULES = {  # those that have moved as a whole, except for the names in NAMES
    "analysis.accounting": "accounting.parameters",
    "analysis.adaptations": "accounting.adaptations",
    "analysis.architectures": "accounting.architectures",
    "analysis.communication": "accounting.communication",
    "analysis.costs": "accounting.costs",
    "analysis.published": "accounting.published",
    "backend": "arrays.backend",
    "blocks": "arrays.chunks",
    "generation": "models.generation",
    "kernels": "arrays.kernels",
    "layers.adapter": "methods.houlsby",
    "layers.lora_linear": "methods.lora.layer",
    "layers.lora_variants": "methods.lora.variants",
    "layers.prefix": "methods.prefixed",
    "layers.rows_linear": "methods.lora.per_row_linear",
    "methods.adapter": "methods.houlsby",
    "methods.combining": "methods.lora.combining",
    "methods.lora_config": "methods.lora.config",
    "methods.rows": "methods.lora.per_row",
    "models.shape": "models.config",
    "models.weights_id": "models.weights_hash",
    "threads": "arrays.threads",
}
NAMES = {  # those that have a new name or place
    "AdapterConfig": "methods.HoulsbyConfig",
    "BitFitConfig": "methods.BitFitConfig",
    "Deberta": "models.Deberta",
    "DebertaConfig": "models.DebertaConfig",
    "DebertaForClassification": "models.DebertaForClassification",
    "PrefixConfig": "methods.PrefixConfig",
    "Roberta": "models.Roberta",
    "RobertaForMaskedLM": "models.RobertaForMaskedLM",
    "TopKConfig": "methods.TopKConfig",
    "adapter_names": "methods.adapter_names",
    "apply_adapter": "methods.apply_houlsby",
    "apply_prefix": "methods.apply_prefix",
    "apply_top_k": "methods.apply_top_k",
    "method_of": "methods.method_of",
    "remove_adapter": "methods.remove_adapter",
    "rows_use": "adapters_per_row",
    "backend.constant_vector": "arrays.reductions.constant_vector",
    "backend.erf": "ops.erf.erf",
    "backend.scatter_add": "arrays.reductions.scatter_add",
    "backend.vecdot": "arrays.reductions.vecdot",
    "blocks.CACHE_BYTES": "arrays.chunks.L2_BYTES",
    "blocks.cache_blocks": "arrays.chunks.l2_chunks",
    "blocks.row_blocks": "arrays.chunks.row_chunks",
    "data.Batch": "data.LMBatch",
    "data.LabelledBatch": "data.ClassificationBatch",
    "distributed.ALONE": "distributed.SINGLE_PROCESS",
    "distributed.Alone": "distributed.SingleProcess",
    "generation.choose_tokens": "models.sampling.Sampling",
    "kernels.C_TYPES": "arrays.kernel_signature.C_TYPES",
    "kernels.Operand": "arrays.kernel_signature.Operand",
    "kernels.REALS": "arrays.kernel_signature.REALS",
    "layers.AdaptedSublayer": "methods.houlsby.HoulsbySublayer",
    "layers.Adapter": "methods.houlsby.Houlsby",
    "layers.DoRAFactors": "methods.lora.DoRAFactors",
    "layers.LoRAFactors": "methods.lora.LoRAFactors",
    "layers.LoRALinear": "methods.lora.LoRALinear",
    "layers.PiSSAFactors": "methods.lora.PiSSAFactors",
    "layers.Prefix": "methods.prefix_tokens.Prefix",
    "layers.RowsLinear": "methods.lora.per_row_linear.PerRowLoRALinear",
    "layers.dora_start": "methods.lora.variants.dora_start",
    "layers.lora_scale": "methods.lora.lora_scale",
    "layers.pissa_start": "methods.lora.variants.pissa_start",
    "layers.adapter.AdaptedSublayer": "methods.houlsby.HoulsbySublayer",
    "layers.adapter.AdaptedSublayerCache": "methods.houlsby.HoulsbySublayerCache",
    "layers.adapter.Adapter": "methods.houlsby.Houlsby",
    "layers.adapter.AdapterCache": "methods.houlsby.HoulsbyCache",
    "layers.rows_linear.RowsLinear": "methods.lora.per_row_linear.PerRowLoRALinear",
    "layers.rows_linear.RowsLinearCache": "methods.lora.per_row_linear.PerRowCache",
    "methods.AdapterConfig": "methods.HoulsbyConfig",
    "methods.adapted_sublayers": "methods.houlsby_sublayers",
    "methods.apply_adapter": "methods.apply_houlsby",
    "methods.rows_use": "methods.adapters_per_row",
    "methods.adapter.AdapterConfig": "methods.HoulsbyConfig",
    "methods.adapter.adapted_sublayers": "methods.houlsby_sublayers",
    "methods.adapter.apply_adapter": "methods.apply_houlsby",
    "methods.rows.rows_use": "methods.adapters_per_row",
    "models.weights_id": "models.weights_hash.weights_hash",
    "models.weights_id.arrays_id": "models.weights_hash.arrays_hash",
    "models.weights_id.weights_id": "models.weights_hash.weights_hash",
    "ops.dora_linear_dA_dB_dm": "ops.dora_linear_backward",
    "ops.lora_linear_dA_dB": "ops.lora_linear_backward",
    "threads.keep_freed_memory": "arrays.threads.retain_freed_memory",
    "methods.described": "methods.to_dict",
    "training.ThreadedObjective": "training.DataParallel",
    "training.concerns": "training.diagnose",
    "training.only_run_in": "training.lock_run_folder",
}
ACCOUNTING = (
    "ARCHITECTURES", "METHODS", "PUBLISHED", "Adaptation", "Architecture", "Flops", "MemoryEstimate", "ParameterCount",
    "Published", "Settings", "adaptation", "architecture_of", "checkpoint_bytes", "count_parameters",
    "find_architecture", "flops_per_token", "memory_estimate", "message_bytes", "ring_bytes", "ring_seconds",
    "step_estimate",
)  # fmt: skip
GRADIENTS = {  # each had a function of its own; they come from one backward now, in this order
    "conv1d": ("dx", "dW", "dbias"),
    "layernorm": ("dx", "dgain", "dbias"),
    "linear": ("dx", "dW", "dbias"),
    "prefix": ("dx", "dP"),
}
NAMES |= {f"analysis.{name}": f"accounting.{name}" for name in ACCOUNTING}
NAMES |= {f"ops.{op}_{grad}": f"ops.{op}_backward" for op, grads in GRADIENTS.items() for grad in grads}


def _nth_gradient(i: int, backward: Any) -> Callable[[Any, Any], Any]:
    return lambda dy, cache: backward(dy, cache)[i]


CALLED_AS_BEFORE: dict[str, Callable[[Any], Any]] = {  # of what is there now, what can be called as the old one was
    "generation.choose_tokens": lambda Sampling: (
        lambda logits, temperature, top_k, top_p, rng: Sampling(temperature, top_k, top_p).choose(logits, rng)
    ),
    "ops.dora_linear_dA_dB_dm": lambda backward: lambda dy, cache: backward(dy, cache)[1:],
    "ops.lora_linear_dA_dB": lambda backward: lambda dy, cache: backward(dy, cache)[1:],
}
CALLED_AS_BEFORE |= {
    f"ops.{op}_{grad}": functools.partial(_nth_gradient, i)
    for op, grads in GRADIENTS.items()
    for i, grad in enumerate(grads)
}


def names_before(package: str, stacklevel: int = 2) -> Callable[[str], Any]:
    """A ``__getattr__`` for a package that finds its old names where they are now.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    stacklevel : int
        Which caller's line the warning shows: 2 is the one that uses the name.
    """
    path = package.removeprefix("minilora").removeprefix(".")

    def __getattr__(name: str) -> Any:
        old = f"{path}.{name}".lstrip(".")
        new = NAMES.get(old)
        if new is None and old in MODULES:
            return importlib.import_module(f"minilora.{old}")
        special = name.startswith("__") and name != "__all__"  # what tools ask of every module, such as __file__
        if new is None and path in MODULES and not special and hasattr(_module(MODULES[path]), name):
            new = f"{MODULES[path]}.{name}"
        if new is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        where, _, last = new.rpartition(".")
        found = getattr(_module(where), last)
        warnings.warn(
            f"minilora.{old} is minilora.{new} now; the old name works in this version only",
            DeprecationWarning,
            stacklevel=stacklevel,
        )
        return CALLED_AS_BEFORE[old](found) if old in CALLED_AS_BEFORE else found

    return __getattr__


def _module(path: str) -> ModuleType:
    return importlib.import_module(f"minilora.{path}" if path else "minilora")


class _OldModules:
    """Finds and makes the modules that have moved; Python asks it last, after every other place."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        is_old = fullname.startswith("minilora.") and fullname.removeprefix("minilora.") in MODULES
        return ModuleSpec(fullname, self) if is_old else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """None: let Python make the module."""

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = names_before(module.__name__)  # type: ignore[method-assign]


sys.meta_path.append(_OldModules())
