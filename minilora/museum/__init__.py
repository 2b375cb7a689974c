"""A museum of wrong gradients: each from a real public bug, with the check that finds it and the damage that it does.

    python -m minilora.museum --out figures/museum

measures the damage: each wrong version takes the place of the right one in a training run of 100 steps. docs/museum.md
shows what came of it.
"""

from minilora.museum.exhibit import Check, Exhibit, Slip, exchanged
from minilora.museum.rooms import EXHIBITS, ROOMS

__all__ = ["EXHIBITS", "ROOMS", "Check", "Exhibit", "Slip", "exchanged"]
