"""The rooms, and in them the exhibits."""

from minilora.museum.rooms import attention, lora, norms, optimizers, sums

ROOMS = {
    "LoRA's own lines": lora.ROOM,
    "Normalisation and the residual stream": norms.ROOM,
    "Attention, positions, and the gated MLP": attention.ROOM,
    "What is summed, and over what": sums.ROOM,
    "From the gradient to the step": optimizers.ROOM,
}
EXHIBITS = {exhibit.name: exhibit for room in ROOMS.values() for exhibit in room}
