"""A model beside PEFT's names: which of our parameters are in which tensor of an adapter's file."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from minilora.interop.peft_names import layout_of
from minilora.methods.lora.apply import with_parents
from minilora.methods.selection import new_parameters
from minilora.methods.switching import base_parameters
from minilora.models.model import Model

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # of every tensor's name
DOWN_EMBEDDING, UP_EMBEDDING = ".lora_embedding_A", ".lora_embedding_B"  # end the names of an embedding's A and B
MAGNITUDE = ".lora_magnitude_vector"  # ends the name of DoRA's m
THEIR_NAMES = {"W": "weight", "gain": "weight", "bias": "bias"}  # of our parameters


class ModelLayout:
    """A Layout, filled in for one model.

    Parameters
    ----------
    model : Model

    Attributes
    ----------
    transposed, task, tied, unused, aliases
        See Layout.
    linear : dict of str to tuple of str
        See Layout; with the names of every block.
    embeddings : dict of str to str
        The module of the token embedding, and the path of ours.
    parameters : dict of str to Parameter
        The base's own parameters, by path.
    new : container of str
        The paths of parameters that were not pretrained: a classifier's head.
    whole : dict of str to dict of str to tuple of str
        For each module with parameters, the paths of ours in each tensor, by its full name there.

    Raises
    ------
    ValueError
        If there is no layout for this kind of model.
    """

    def __init__(self, model: Model) -> None:
        layout = layout_of(model)
        self.transposed, self.task, self.tied = layout.transposed, layout.task, layout.tied
        self.unused, self.aliases = layout.unused, layout.aliases
        self.parameters, self.new = base_parameters(model), new_parameters(model).keys()
        numbers = range(model.config.n_layer)
        self.linear = _filled(layout.linear, numbers)
        others = [*layout.other.items(), *((module, path.removesuffix(".W")) for module, path in layout.tied.items())]
        self.embeddings = dict([(name, path) for name, path in others if path.rpartition(".")[2] == "wte"][:1])
        whole = {name: self._tensors(name, paths) for name, paths in self.linear.items()}
        whole |= {name: self._tensors(name, (path,)) for name, path in _filled(layout.other, numbers).items()}
        self.whole = {name: tensors for name, tensors in whole.items() if tensors}  # some have no convolution

    def _tensors(self, module: str, paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The paths of our parameters in each tensor of a module, by its full name."""
        letters = [letter for letter in THEIR_NAMES if f"{paths[0]}.{letter}" in self.parameters]
        return {f"{module}.{THEIR_NAMES[letter]}": tuple(f"{path}.{letter}" for path in paths) for letter in letters}

    def modules(self) -> list[str]:
        """The names of all modules with parameters."""
        return [*self.whole, *self.tied, *self.unused]

    def is_transposed(self, tensor: str) -> bool:
        """Whether a tensor is the transpose of ours, as a linear module's weight in GPT-2 is."""
        return self.transposed and tensor.endswith(".weight") and tensor.removesuffix(".weight") in self.linear

    def shape(self, module: str) -> tuple[int, int]:
        """(O, I) of a linear module: all rows of its layers."""
        return self._side_by_side([f"{path}.W" for path in self.linear[module]])

    def shape_of(self, tensor: str, paths: Sequence[str]) -> tuple[int, ...]:
        """The shape of a tensor that holds the rows of several parameters."""
        shape = self._side_by_side(paths)
        return shape[::-1] if self.is_transposed(tensor) else shape

    def _side_by_side(self, paths: Sequence[str]) -> Any:
        shapes = [self.parameters[path].data.shape for path in paths]
        return sum(shape[0] for shape in shapes), *shapes[0][1:]

    def all_tensors(self) -> dict[str, tuple[str, ...]]:
        """The paths of our parameters in every tensor of transformers' model, by its name."""
        tensors = {tensor: paths for module in self.whole.values() for tensor, paths in module.items()}
        tensors |= {f"{module}.weight": (path,) for module, path in self.tied.items()}
        return tensors | {tensor: (path,) for tensor, path in self.aliases.items()}

    def saved(self, name: str) -> list[str]:
        """The modules that a name in modules_to_save means: PEFT compares it with the ends of the names of modules and
        of what contains them.
        """
        return [module for module in self.modules() if any(part.endswith(name) for part in with_parents(module))]

    def collapsed(self, saved: list[str]) -> list[str]:
        """The names, with a single one for a head whose modules are all saved, as PEFT expects for a classifier."""
        head = [module for module in self.whole if module.startswith("classifier.")]
        if not head or not set(head) <= set(saved):
            return saved
        return [*(module for module in saved if module not in head), "classifier"]

    def biases(self, adapted: Container[str], which: str) -> dict[str, tuple[str, ...]]:
        """The biases that PEFT saves with bias="all" or "lora_only": for each, by full name, the paths that it joins.

        Parameters
        ----------
        adapted : container of str
            The linear modules that are adapted.
        which : {"none", "all", "lora_only"}
        """
        found = {}
        for tensor, paths in self.all_tensors().items():
            module = tensor.removesuffix(".bias")
            if module != tensor and (which == "all" or (which == "lora_only" and module in adapted)):
                found[f"{module}.base_layer.bias" if module in adapted else tensor] = paths
        return found


def _filled(names: Mapping[str, Any], numbers: Iterable[int]) -> dict[str, Any]:
    def fill(value: Any, i: int) -> Any:
        return tuple(path.format(i=i) for path in value) if isinstance(value, tuple) else value.format(i=i)

    return {name.format(i=i): fill(value, i) for i in numbers for name, value in names.items()}
