"""Many tasks in one batch: each row uses its own adapter, all of them on one base.

With merged weights this cannot be done, a limitation that the paper names (section 4.2): W + delta_W belongs to one
task. Beside the frozen W, any number of adapters can be at work at once.

    with rows_use(model, ["tables", None, "news"]):       # None: the base
        logits, cache = model.forward(ids)                # (3, T)
"""

import contextlib

from minilora.layers import RowsLinear
from minilora.methods.lora import adapter_names, lora_layers, refuse_merged
from minilora.methods.selection import method_of, train_only


@contextlib.contextmanager
def rows_use(model, names):
    """A context in which row n of every batch uses the adapter names[n].

    Inside, these adapters' parameters are the model's and trainable, under names such as
    "blocks.0.attn.q_proj.news.A"; a backward gives each the gradient of its own rows. A batch must have as many rows
    as there are names, so it cannot be shared out among threads. Afterwards everything is as it was before.

    Parameters
    ----------
    model : Module
    names : sequence of str or None
        One for each row; None is the base without an adapter.

    Raises
    ------
    ValueError
        If there is no such adapter, or one is merged.
    """
    names, known = list(names), adapter_names(model)
    refuse_merged(model)
    if not names:
        raise ValueError("names was empty; there must be one for each row of a batch")
    if unknown := [name for name in names if name is not None and name not in known]:
        raise ValueError(f"names held {unknown[0]!r}; the model's adapters are {known}")
    layers = lora_layers(model)
    used = [factors for layer in layers.values() for name, factors in layer.adapters.items() if name in names]
    used = [p for factors in used for p in factors.parameters()]
    before = [(p, p.trainable) for p in (*used, *model.parameters())]
    for path, layer in layers.items():
        model.replace(path, RowsLinear(layer, names))
    train_only(model, used, method_of(model))
    try:
        yield
    finally:
        for path, layer in layers.items():
            model.replace(path, layer)
        for p, trainable in before:
            p.trainable, p.grad = trainable, None
        model.name_parameters()
