"""How many parameters a model has, and how many of them are trained."""

from typing import NamedTuple

from minilora.parameter import Module


class ParameterCount(NamedTuple):
    """The size of a model, in numbers (not bytes)."""

    trainable: int
    total: int

    @property
    def percent(self) -> float:
        """The trainable parameters in percent of all."""
        return 100.0 * self.trainable / self.total


def count_parameters(model: Module) -> ParameterCount:
    """Count a model's parameters in its current state.

    Tied parameters count once. With LoRA, `total` includes the active adapter's A and B, and `trainable` is the paper's
    |Theta| (section 5.1): r (I + O) for each adapted matrix, which is 2 d r if it is d x d.

    Parameters
    ----------
    model : Module

    Returns
    -------
    ParameterCount
    """
    sizes = [(p.size, p.trainable) for p in model.parameters()]
    return ParameterCount(
        trainable=sum(size for size, trainable in sizes if trainable),
        total=sum(size for size, _ in sizes),
    )
