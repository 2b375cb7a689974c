"""The adapters that a training run passes through: A and B after some of its steps."""

from dataclasses import dataclass

from minilora.analysis import Factors, adapter_factors
from minilora.experiments.adapt import DecoderRun, decoder_trainer, watch
from minilora.experiments.sweep import produces_file
from minilora.files import load_arrays, save_arrays

KIND = "adapters along training"


@dataclass(frozen=True)
class Snapshots:
    """One training run, and the steps after which its adapter is saved; it is always saved at the end."""

    finetune: DecoderRun
    steps: tuple[int, ...]


@produces_file(".safetensors")
def keep_along_training(snapshots, path):
    """Train, and write A and B of every layer after some of the steps and at the end to a file.

    Parameters
    ----------
    snapshots : Snapshots
    path : Path

    Returns
    -------
    float
        The loss of the last step.
    """
    model, _, trainer = decoder_trainer(snapshots.finetune)
    kept = watch(trainer, snapshots.steps, lambda batch: adapter_factors(model))
    kept[trainer.step] = adapter_factors(model)
    arrays = {}
    for step, layers in kept.items():
        for layer, factors in layers.items():
            arrays |= {f"{step}.{layer}.{name}": getattr(factors, name).astype("float32") for name in "AB"}
    save_arrays(path, arrays, {"kind": KIND, "scale": factors.scale})
    return trainer.history.losses[-1]


def read_snapshots(path):
    """What `keep_along_training` wrote: by step, and by the layer's path, its Factors."""
    arrays, about = load_arrays(path, KIND)
    found = {}
    for name in (name.removesuffix(".A") for name in arrays if name.endswith(".A")):
        step, layer = name.split(".", 1)
        found.setdefault(int(step), {})[layer] = Factors(arrays[f"{name}.B"], arrays[f"{name}.A"], about["scale"])
    return found
