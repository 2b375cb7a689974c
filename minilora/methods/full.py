"""Full fine-tuning: everything is trained. What LoRA is compared with."""


def apply_full(model):
    """Make every parameter of a model trainable, in place."""
    for p in model.parameters():
        p.trainable = True
