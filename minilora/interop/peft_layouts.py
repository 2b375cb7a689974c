"""PEFT's names: the modules of transformers' models, and the layers that correspond to them here.

PEFT names its tensors after transformers' modules. A module that holds several of our layers (GPT-2's c_attn: W_q, W_k
and W_v) lists them in order. One more architecture is one more `Layout`.
"""

from dataclasses import dataclass, replace

from minilora.methods.selection import new_parameters
from minilora.methods.switching import base_parameters

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # of every tensor's name
MAGNITUDE = ".lora_magnitude_vector"  # ends the name of DoRA's m
THEIR_NAMES = {"W": "weight", "gain": "weight", "bias": "bias"}  # of our parameters


@dataclass(frozen=True)
class Layout:
    """One of transformers' models. `{i}` in a name stands for the number of a block.

    Parameters
    ----------
    linear : dict of str to tuple of str
        Modules that LoRA can adapt, and the paths of our layers in them.
    whole : dict of str to str
        Other modules, which PEFT can train and save whole, and the paths of our modules.
    transposed : bool
        Whether the linear modules have weights of shape (in, out): PEFT's fan_in_fan_out.
    task : str, optional
        PEFT's name for what the model does.
    """

    linear: dict[str, tuple[str, ...]]
    whole: dict[str, str]
    transposed: bool = False
    task: str | None = None


def _gpt2():
    h, block = "transformer.h.{i}", "blocks.{i}"
    linear = {
        f"{h}.attn.c_attn": (f"{block}.attn.q_proj", f"{block}.attn.k_proj", f"{block}.attn.v_proj"),
        f"{h}.attn.c_proj": (f"{block}.attn.o_proj",),
        f"{h}.mlp.c_fc": (f"{block}.mlp.fc_in",),
        f"{h}.mlp.c_proj": (f"{block}.mlp.fc_out",),
    }
    norms = {f"{h}.ln_1": f"{block}.ln_1", f"{h}.ln_2": f"{block}.ln_2", "transformer.ln_f": "ln_f"}
    return Layout(linear, {"transformer.wpe": "wpe", **norms}, transposed=True, task="CAUSAL_LM")


def _bert(model, encoder, qkv, whole, task=None):
    """RoBERTa and DeBERTa: `model` is the prefix of their names, `encoder` of ours, `qkv` names W_q, W_k, W_v."""
    layer, block = f"{model}encoder.layer.{{i}}", f"{encoder}blocks.{{i}}"
    q, k, v = qkv
    linear = {
        f"{layer}.attention.self.{q}": (f"{block}.attn.q_proj",),
        f"{layer}.attention.self.{k}": (f"{block}.attn.k_proj",),
        f"{layer}.attention.self.{v}": (f"{block}.attn.v_proj",),
        f"{layer}.attention.output.dense": (f"{block}.attn.o_proj",),
        f"{layer}.intermediate.dense": (f"{block}.mlp.fc_in",),
        f"{layer}.output.dense": (f"{block}.mlp.fc_out",),
    }
    norms = {
        f"{model}embeddings.LayerNorm": f"{encoder}ln_e",
        f"{layer}.attention.output.LayerNorm": f"{block}.ln_1",
        f"{layer}.output.LayerNorm": f"{block}.ln_2",
    }
    return Layout(linear, {**norms, **whole}, task=task)


def _roberta_masked_lm():
    """RoBERTa with the part of its head that is not tied to the embedding."""
    encoder = _bert("roberta.", "encoder.", ROBERTA, {"lm_head.dense": "head.dense", "lm_head.layer_norm": "head.ln"})
    return replace(encoder, linear={**encoder.linear, "lm_head.dense": ("head.dense",)})


ROBERTA, DEBERTA = ("query", "key", "value"), ("query_proj", "key_proj", "value_proj")
LAYOUTS = {  # by the name of our class
    "GPT": _gpt2(),
    "Roberta": _bert("", "", ROBERTA, {}),
    "RobertaForMaskedLM": _roberta_masked_lm(),
    "RobertaForClassification": _bert("roberta.", "encoder.", ROBERTA, {"classifier": "head"}, "SEQ_CLS"),
    "Deberta": _bert("", "", DEBERTA, {"encoder.LayerNorm": "ln_r"}),
    "DebertaForClassification": _bert(
        "deberta.",
        "encoder.",
        DEBERTA,
        {"deberta.encoder.LayerNorm": "encoder.ln_r", "pooler.dense": "head.dense", "classifier": "head.out_proj"},
        "SEQ_CLS",
    ),
}


class ModelLayout:
    """A Layout, filled in for one model.

    Parameters
    ----------
    model : Module

    Attributes
    ----------
    transposed, task
        See Layout.
    linear : dict of str to tuple of str
        See Layout; with the names of every block.
    parameters : dict of str to Parameter
        The base's own parameters, by path.
    new : container of str
        The paths of parameters that were not pretrained: a classifier's head.
    whole : dict of str to dict of str to str
        For each module of Layout's `whole`, the paths of our parameters by their full names there.

    Raises
    ------
    ValueError
        If there is no layout for this kind of model.
    """

    def __init__(self, model):
        kind = type(model).__name__
        if kind not in LAYOUTS:
            raise ValueError(f"model was a {kind}; PEFT's names are known for {', '.join(LAYOUTS)}")
        layout = LAYOUTS[kind]
        self.transposed, self.task = layout.transposed, layout.task
        numbers = range(model.config.n_layer)
        self.linear = {
            name.format(i=i): tuple(path.format(i=i) for path in paths)
            for i in numbers
            for name, paths in layout.linear.items()
        }
        self.parameters, self.new = base_parameters(model), new_parameters(model).keys()
        modules = {name.format(i=i): path.format(i=i) for i in numbers for name, path in layout.whole.items()}
        self.whole = {name: self._names(name, path) for name, path in modules.items()}

    def _names(self, name, path):
        names = {}
        for parameter in self.parameters:
            if parameter.startswith(f"{path}."):
                *parents, last = parameter.removeprefix(f"{path}.").split(".")
                names[".".join((name, *parents, THEIR_NAMES[last]))] = parameter
        return names

    def shape(self, module):
        """(O, I) of a linear module: all rows of its layers."""
        shapes = [self.parameters[f"{path}.W"].data.shape for path in self.linear[module]]
        return sum(O for O, _ in shapes), shapes[0][1]

    def shape_of(self, paths):
        """The shape of a tensor that holds the rows of several parameters."""
        shapes = [self.parameters[path].data.shape for path in paths]
        return sum(shape[0] for shape in shapes), *shapes[0][1:]

    def biases(self, adapted, which):
        """The biases that PEFT saves with bias="all" or "lora_only": for each, by full name, the paths that it joins.

        Parameters
        ----------
        adapted : container of str
            The linear modules that are adapted.
        which : {"none", "all", "lora_only"}

        Returns
        -------
        dict of str to list of str
        """
        found = {}
        for module, paths in self.linear.items():
            if which == "all" or (which == "lora_only" and module in adapted):
                name = f"{module}.base_layer.bias" if module in adapted else f"{module}.bias"
                found[name] = [f"{path}.bias" for path in paths]
        if which == "all":
            for names in self.whole.values():
                found |= {name: [path] for name, path in names.items() if name.endswith(".bias")}
        return found
