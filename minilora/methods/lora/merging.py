"""W + delta_W in place of W: the adapted model at exactly the base's cost, and back to the bit."""

from minilora.methods.lora.embedding import LoRAEmbedding, has_tied_head
from minilora.methods.switching import adapter_names, lora_layers
from minilora.parameter import Module


def merge_lora(model: Module) -> None:
    """Replace each adapted W by W + delta_W: the adapted model at exactly the base's cost. The frozen W is kept.

    Raises
    ------
    ValueError
        If no adapter is active, so that there is nothing to merge; or it is in an embedding to which a head is tied.
    """
    layers = lora_layers(model).values()
    if all(layer.active is None for layer in layers):
        raise ValueError(f"no adapter is active to be merged; the model's adapters are {adapter_names(model)}")
    if has_tied_head(model) and any(isinstance(layer, LoRAEmbedding) and layer.active for layer in layers):
        raise ValueError(
            "the adapter is in the token embedding, to which the head is tied; E + delta_E would be the head's, too, "
            "so it must stay beside E"
        )
    for layer in layers:
        layer.merge()


def unmerge_lora(model: Module) -> None:
    """Put every frozen W back, to the bit."""
    for layer in lora_layers(model).values():
        layer.unmerge()
