"""Groups of parameters, each with its own learning rate and weight decay. LoRA+ has two groups."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from minilora.methods.lora import factors_of
from minilora.parameter import Module, Parameter


@dataclass
class ParameterGroup:
    """Some of the parameters of an optimizer, and how they differ from the others.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr_ratio : float
        The group's learning rate is this times the optimizer's `lr`, which the schedule changes.
    weight_decay : float, optional
        The optimizer's, if not given.
    """

    parameters: Iterable[Parameter]
    lr_ratio: float = 1.0
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        check_rate("lr_ratio", self.lr_ratio)
        if self.weight_decay is not None:
            check_rate("weight_decay", self.weight_decay)
        self.parameters = list(self.parameters)
        for p in self.parameters:
            if not isinstance(p, Parameter):
                raise TypeError(f"parameters held a {type(p).__name__}; each must be a Parameter")


def lora_plus_groups(model: Module, ratio: float) -> list[ParameterGroup]:
    """LoRA+ (Hayou et al., 2024): the matrices B of all LoRA layers learn `ratio` times as fast as everything else.

    Parameters
    ----------
    model : Module
    ratio : float
        The paper recommends about 16; 1 is plain LoRA.

    Returns
    -------
    list of ParameterGroup
        All trainable parameters except the B's, and the B's. For an optimizer.
    """
    of_B = {id(factors.B) for factors in factors_of(model)}
    trainable = model.trainable_parameters()
    return [
        ParameterGroup([p for p in trainable if id(p) not in of_B]),
        ParameterGroup([p for p in trainable if id(p) in of_B], lr_ratio=ratio),
    ]


def as_groups(parameters: Iterable[Parameter | ParameterGroup]) -> list[ParameterGroup]:
    """The groups, with only the trainable parameters, each once; ungrouped parameters form one group.

    Raises
    ------
    TypeError
        If something is not a parameter or a group, or the two are mixed.
    ValueError
        If nothing is trainable, or a parameter occurs twice.
    """
    given: list[Any] = list(parameters)
    groups = given if all(isinstance(item, ParameterGroup) for item in given) else [ParameterGroup(given)]
    groups = [ParameterGroup([p for p in g.parameters if p.trainable], g.lr_ratio, g.weight_decay) for g in groups]
    trained = [p for group in groups for p in group.parameters]
    if not trained:
        raise ValueError("parameters held nothing trainable: apply a method first (apply_lora, apply_full)")
    if len({id(p) for p in trained}) < len(trained):
        twice = next(p for i, p in enumerate(trained) if any(p is other for other in trained[:i]))
        raise ValueError(f"parameters held {twice} twice; each must occur once, in one group")
    return groups


def check_rate(name: str, value: Any) -> None:
    """Raise a ValueError, naming the argument, unless it is a finite number of at least 0."""
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and 0 <= value < math.inf):
        raise ValueError(f"{name} was {value!r}; it must be a finite number of at least 0")
