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
    losses = {
        label: {
            "training": [float(value / nats) for value in history.losses],
            "validation": [(step, float(value / nats)) for step, value in history.validation],
        }
        for label, history in histories.items()
    }
    of_both = similarity_of_bases(lora.Vt, full.Vh[: min(DIRECTIONS, len(full.Vh))])
    return {
        "loss": losses,
        "singular_values": {f"LoRA, r = {len(lora.S)}": lora.S.tolist(), "full fine-tuning": full.S.tolist()},
        "phi": of_both.tolist(),
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
    return {
        name: partial(make, results, drawn) for name, make in zip(FIGURES, (loss, singular_values, phi), strict=True)
    }


def loss(results, drawn):
    """The losses of both, as a Figure."""
    from minilora import plots

    losses = {label: (of["training"], of["validation"]) for label, of in drawn["loss"].items()}
    return plots.caption(plots.loss_curves(losses), title="LoRA and full fine-tuning", note=setting(results))


def singular_values(results, drawn):
    """The singular values of both delta_W, as a Figure."""
    from minilora import plots

    figure = plots.singular_values({label: numpy.array(S) for label, S in drawn["singular_values"].items()})
    return plots.caption(figure, title=f"What was learned: {delta_W(drawn)}", note=setting(results))


def phi(results, drawn):
    """The directions that both have in common, as a Figure."""
    from minilora import plots

    measured, channels = numpy.array(drawn["phi"]), drawn["channels"]
    panels = {"measured": measured, "random subspaces (expected)": random_control(*measured.shape, channels)}
    sides = {"first": f"LoRA's {delta_W(drawn)}", "second": f"full fine-tuning's {delta_W(drawn)}"}
    figure = plots.similarity_grid(panels, z=z_of_whole(panels, channels), **sides)
    title = "Do LoRA and full fine-tuning learn the same directions?"
    return plots.caption(figure, title=title, note=setting(results))


def delta_W(drawn):
    """The matrix that is looked at, for a title."""
    return rf"$\Delta W_q$, block {drawn['block']}"


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
