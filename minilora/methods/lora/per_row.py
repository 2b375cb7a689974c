"""Many tasks in one batch: each row uses its own adapter, all of them on one base.

With merged weights this cannot be done, a limitation that the paper names (section 4.2): W + delta_W belongs to one
task. Next to the frozen W, any number of adapters can be used at once.

    with adapters_per_row(model, ["tables", None, "news"]):       # None: the base
        logits, cache = model.forward(ids)                # (3, T)
"""

import contextlib
import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from minilora.methods.lora.embedding import LoRAEmbedding
from minilora.methods.lora.per_row_linear import PerRowLoRALinear, PerRowModule
from minilora.methods.selection import new_modules, train_only
from minilora.methods.state import adapters_of, method_of
from minilora.methods.switching import base_in_place, lora_layers, lora_names, refuse_merged
from minilora.models.model import Model
from minilora.parameter import Module, Parameter


@contextlib.contextmanager
def adapters_per_row(model: Model, names: Sequence[str | None]) -> Iterator[None]:
    """A context in which row n of every batch uses the adapter names[n], and the head that belongs to it.

    Inside, these adapters' parameters are the model's and trainable, under names such as
    "blocks.0.attn.q_proj.news.A" and "head.news.dense.W"; a backward gives each the gradient of its own rows. A batch
    must have one row per name, so it cannot be shared among threads. Afterwards everything is as before.

    Parameters
    ----------
    model : Model
    names : sequence of str or None
        One for each row; None is the base without an adapter.

    Raises
    ------
    ValueError
        If there is no such LoRA adapter, or one is merged; if an adapter has more of its own than a head, or adapts a
        layer that does not read rows.
    """
    names, known = list(names), lora_names(model)
    refuse_merged(model)
    if not names:
        raise ValueError("names was empty; there must be one for each row of a batch")
    if unknown := [name for name in names if name is not None and name not in known]:
        raise ValueError(f"names held {unknown[0]!r}; the model's adapters of LoRA are {known}")
    used = dict.fromkeys(name for name in names if name is not None)
    _check_rows(model, used)
    with base_in_place(model):
        before = dict(model.named_modules())
        flags = [(p, p.trainable) for p in _all_parameters(model, used)]
        replaced = _replacements(model, names, used)
        for path, module in replaced.items():
            model.replace(path, module)
        learned: list[Any] = [m for module in replaced.values() for name, m in module.members() if name != "base"]
        own = [p for m in learned for p in m.parameters()]
        train_only(model, own, method_of(model))
        try:
            yield
        finally:
            for path in replaced:
                model.replace(path, before[path])
            for p, trainable in flags:
                p.trainable, p.grad = trainable, None
            model.name_parameters()


def _check_rows(model: Model, used: Iterable[str]) -> None:
    """Raise ValueError for anything that could not be computed row by row."""
    new = new_modules(model)
    for name in used:
        for path in adapters_of(model).named[name].parts:
            if path.split(".")[0] not in new:
                raise ValueError(
                    f"the adapter {name!r} has {path} of its own; the rows of a batch share all but a head"
                )
        for path, layer in lora_layers(model).items():
            if name not in layer.adapters:
                continue
            if hasattr(model.config, "n_buckets") and path.endswith((".q_proj", ".k_proj")):
                raise ValueError(f"the adapter {name!r} is in {path}, which reads relative positions, not rows")
            if isinstance(layer, LoRAEmbedding):
                raise ValueError(f"the adapter {name!r} is in {path}, which all rows of a batch share")
            if path == "lm_head" or (path.startswith("head.") and "head" not in new):
                raise ValueError(f"the adapter {name!r} is in {path}, which reads the positions that count, not rows")


def _replacements(model: Module, names: Sequence[str | None], used: Iterable[str]) -> dict[str, PerRowModule]:
    """The modules that replace layers and heads: a dict of path to PerRowModule."""
    heads = [path for path in new_modules(model) if any(_owns(model, name, path) for name in used)]
    inside = tuple(f"{path}." for path in heads)
    layers = {path: layer for path, layer in lora_layers(model).items() if not path.startswith(inside)}
    rows: dict[str, PerRowModule] = {path: PerRowLoRALinear(layer, names) for path, layer in layers.items()}
    for path in heads:
        head = getattr(model, path)
        rows[path] = PerRowModule({name: _head_of(model, path, head, name) for name in (None, *used)}, names)
    return rows


def _owns(model: Module, name: str, path: str) -> bool:
    return any(part.startswith(f"{path}.") for part in adapters_of(model).named[name].parts)


def _head_of(model: Module, path: str, head: Module, name: str | None) -> Module:
    """A copy of the base's head with an adapter's own parameters, and its A and B."""
    parts = {} if name is None else adapters_of(model).named[name].parts
    same = {id(p): p for layer in lora_layers(head).values() for f in layer.adapters.values() for p in f.parameters()}
    same |= {id(p): parts.get(f"{path}.{place}".replace(".base.", "."), p) for place, p in head.named_parameters()}
    twin = copy.deepcopy(head, same)  # deepcopy treats the parameters in `same` as already copied
    for layer in lora_layers(twin).values():
        layer.active = name if name in layer.adapters else None
    return twin


def _all_parameters(model: Module, used: Iterable[str]) -> list[Parameter]:
    factors = [f for layer in lora_layers(model).values() for f in layer.adapters.values()]
    own = [p for name in used for p in adapters_of(model).named[name].own_parameters().values()]
    return [*model.parameters(), *(p for f in factors for p in f.parameters()), *own]
