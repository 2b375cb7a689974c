"""A tiny model with LoRA, on the host and on a device that obeys CuPy's rules (device_array.py)."""

from device_array import to_fake_device
from methods.tiny import EVERYWHERE, some_batch, tiny_lora
from minilora.methods import LoRAConfig, apply_full, lora_layers, set_adapter

BATCH = some_batch()
DROPOUT = LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, dropout=0.3)


def host_model(everything=False):
    model = tiny_lora(DROPOUT, "float32", seed=23)
    if everything:
        set_adapter(model, None)
        apply_full(model)
    return model


def on_device(model):
    """The model with all its arrays on the device, as if it had been made there."""
    for p in model.parameters():
        p.data = to_fake_device(p.data)
    for layer in lora_layers(model).values():
        for factors in layer.adapters.values():
            for p in (factors.A, factors.B):
                p.data = to_fake_device(p.data)
    return model


def device_model(everything=False):
    return on_device(host_model(everything))


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def arrays(model):
    return {name: p.data for name, p in model.named_parameters()}
