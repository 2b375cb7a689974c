"""Checks that ranks that train one model hold the same state: what must be equal is compared to the bit."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from minilora.arrays.backend import to_numpy
from minilora.training.checkpoint import state_arrays

if TYPE_CHECKING:
    from minilora.training.loop import Trainer


def check_ranks_in_sync(trainer: "Trainer") -> None:
    """Raise, at every rank, unless all ranks of a Trainer hold the same configuration, device, step and numbers.

    Raises
    ------
    ValueError
        With the first rank that differs from rank 0, and in what.
    """
    ranks = trainer.ranks
    if ranks.size == 1:
        return
    first, *others = ranks.gather(_held(trainer))
    for rank, held in enumerate(others, 1):
        if differing := [what for what in first if held[what] != first[what]]:
            raise ValueError(
                f"rank {rank} differs from rank 0 in its {', '.join(differing)}, at step {trainer.step}; all ranks "
                "of a job need the same program, options, files, devices and kind of processor"
            )


def _held(trainer: "Trainer") -> dict[str, Any]:
    """What must be equal, by name; a hash of the weights and the optimizer's state."""
    numbers = hashlib.sha256()
    for name, array in state_arrays(trainer).items():
        numbers.update(f"{name} {array.shape} {array.dtype}".encode())
        numbers.update(to_numpy(array).tobytes())
    return {
        "configuration": json.dumps(trainer.configuration, sort_keys=True),
        "device": trainer.device,
        "step": trainer.step,
        "generator": trainer.rng.bit_generator.state,
        "weights": numbers.hexdigest(),
    }
