"""Full fine-tuning: everything is trained. What LoRA is compared with."""


from minilora.methods.lora import set_adapter


def apply_full(model):
    """Make every parameter of a model trainable, in place. An adapter, if there is one, is switched off."""
    set_adapter(model, None)
    for p in model.parameters():
        p.trainable = True
