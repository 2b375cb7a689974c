"""The figures of `minilora demo`: what they draw is kept as numbers, from which they can be drawn again."""

import json
from functools import partial
from pathlib import Path

import numpy

from minilora.analysis import (
    adapter_factors,
    factored_svd,
    random_control,
    similarity_of_bases,
    weight_changes,
    z_of_whole,
)
from minilora.arrays.backend import to_numpy

NUMBERS = "figures.json"
FIGURES = ("loss.png", "singular_values.png", "phi.png")
DIRECTIONS = 64  # of full fine-tuning's delta_W, in the phi heat-map


def numbers(base, models, histories, *, per_byte=1.0):
    """What the figures draw: the losses, the singular values of both delta_W in the middle block's W_q, and phi.

    Parameters
    ----------
    base : Decoder
    models : dict of str to Decoder
        "LoRA" and "full fine-tuning".
    histories : dict of str to History
        Of the same.
    per_byte : float
        Bytes in a token.

    Returns
    -------
    dict
        `loss`, by label: `training`, of every step, and `validation`, (step, loss) pairs, in bits per byte;
        `singular_values`, by label; `phi`, (r, directions); `channels`, the columns of W_q; and `block`.
    """
    middle = len(base.blocks) // 2
    layer = f"blocks.{middle}.attn.q_proj"
    lora = factored_svd(*adapter_factors(models["LoRA"])[layer])
    before, after = (
        {n: to_numpy(p.data) for n, p in m.named_parameters() if n == f"{layer}.W"}
        for m in (base, models["full fine-tuning"])
    )
    full = numpy.linalg.svd(weight_changes(before, after)[f"{layer}.W"])
    nats = per_byte * numpy.log(2)  # in a bit per byte
    loss = {
        label: {
            "training": [float(value / nats) for value in history.losses],
            "validation": [(step, float(value / nats)) for step, value in history.validation],
        }
        for label, history in histories.items()
    }
    phi = similarity_of_bases(lora.Vt, full.Vh[: min(DIRECTIONS, len(full.Vh))])
    return {
        "loss": loss,
        "singular_values": {f"LoRA, r = {len(lora.S)}": lora.S.tolist(), "full fine-tuning": full.S.tolist()},
        "phi": phi.tolist(),
        "channels": lora.Vt.shape[1],
        "block": middle,
    }


def figures_of(results, drawn):
    """What draws each figure.

    Parameters
    ----------
    results : dict
        What demo.json holds.
    drawn : dict
        From `numbers`.

    Returns
    -------
    dict of str to callable
        By file name; each returns a Figure.
    """
    return {name: partial(figure, name, results, drawn) for name in FIGURES}


def figure(name, results, drawn):
    """One figure, by its file name."""
    from minilora import plots

    of_layer = rf"$\Delta W_q$, block {drawn['block']}"
    if name == "loss.png":
        title = "LoRA and full fine-tuning"
        losses = {label: (loss["training"], loss["validation"]) for label, loss in drawn["loss"].items()}
        made = plots.loss_curves(losses)
    elif name == "singular_values.png":
        title = f"What was learned: {of_layer}"
        made = plots.singular_values({label: numpy.array(S) for label, S in drawn["singular_values"].items()})
    else:
        title = "Do LoRA and full fine-tuning learn the same directions?"
        phi = numpy.array(drawn["phi"])
        panels = {"measured": phi, "random subspaces (expected)": random_control(*phi.shape, drawn["channels"])}
        sides = {"first": f"LoRA's {of_layer}", "second": f"full fine-tuning's {of_layer}"}
        made = plots.similarity_grid(panels, z=z_of_whole(panels, drawn["channels"]), **sides)
    return plots.caption(made, title=title, note=setting(results))


def setting(results):
    """What was trained, and on what."""
    model, train = results["model"], results["LoRA"]["config"]["train"]
    return (
        f"{model['name']}, {model['parameters'] / 1e6:,.1f} million parameters, on {results['task']['name']}; "
        f"seed {train['seed']}, {train['steps']} steps of {train['batch_size']} texts."
    )


def draw(folder, results, drawn):
    """Write the figures into a folder."""
    from minilora import plots

    for name, make in figures_of(results, drawn).items():
        plots.save(make(), Path(folder) / name)


def read(folder):
    """What `minilora demo` wrote into a folder: its results, and what its figures draw."""
    found = []
    for name, keys in (("demo.json", {"model", "task", "LoRA", "merging"}), (NUMBERS, {"loss", "phi", "block"})):
        path = Path(folder) / name
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
            known = keys <= found[-1].keys()
        except (OSError, ValueError, AttributeError):
            known = False
        if not known:
            raise ValueError(f"{path} is not what `minilora demo` wrote, or it is damaged")
    return found
