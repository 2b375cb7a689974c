"""Tiny Llamas of every shape that a GGUF file can hold, and copies of such files, changed or quantised."""

import itertools
from dataclasses import replace

import gguf
import numpy as np

from minilora.interop.gguf_blocks import BLOCKS, dequantize
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.gguf_load import load_gguf
from minilora.interop.gguf_save import save_gguf
from minilora.interop.tokenizer import load_tokenizer
from minilora.methods import LoRAConfig, apply_lora
from minilora.models import Llama, LlamaConfig
from minilora.ops import Llama3Scaling
from tiny_models import at_a_generic_point

SHAPE = {"vocab_size": 40, "n_layer": 2, "d_model": 32, "n_head": 4, "d_mlp": 48, "n_positions": 32}
CONFIGS = {
    "plain": LlamaConfig(**SHAPE, tied_head=True),
    "grouped": LlamaConfig(**SHAPE, n_kv_head=2, tied_head=True),
    "untied": LlamaConfig(**SHAPE, n_kv_head=1),
    "wide heads": LlamaConfig(**SHAPE, n_kv_head=2, head_size=12, rms_norm_eps=1e-6),
    "theta": LlamaConfig(**SHAPE, n_kv_head=2, rope_theta=1e6),
    "biased": LlamaConfig(**SHAPE, n_kv_head=2, qkv_bias=True, o_bias=True),
    "qwen2": LlamaConfig(**SHAPE, n_kv_head=2, qkv_bias=True, tied_head=True),
    "llama3": LlamaConfig(
        **SHAPE, n_kv_head=2, head_size=16, rope_theta=5e5, rope_scaling=Llama3Scaling(8.0, 1.0, 4.0, 8192)
    ),
}


def tiny_llama(config, seed=0):
    return at_a_generic_point(Llama, config, dtype="float32", seed=seed)


def config_of(name, folder, spare=0):
    """One of CONFIGS, with the vocabulary of a folder's tokenizer, and some rows to spare."""
    return replace(CONFIGS[name], vocab_size=load_tokenizer(folder).vocab_size + spare)


TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
OPTIONS = {  # of LoRAConfig: what scales an adapter
    "LoRA": {},
    "rsLoRA": {"rslora": True},
    "PiSSA": {"init": "pissa"},
    "ranks": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 1}},
}


def adapted(config=CONFIGS["grouped"], seed=1, **options):
    """A tiny Llama with a LoRA whose B is not zero."""
    model, rng = tiny_llama(config), np.random.default_rng(seed)
    apply_lora(model, LoRAConfig(**{"rank": 3, "alpha": 6, "targets": TARGETS} | options), rng=rng)
    for name, p in model.named_parameters():
        if name.endswith(".B"):
            p.data[...] = 0.1 * rng.standard_normal(p.data.shape)
    return model


def save_and_load(model, path, **options):
    save_gguf(model, path, **options)
    return load_gguf(path)


def as_float32(tensor):
    """The values of a tensor, and no type: they are written as they are."""
    return tensor.read(), None


def changed(source, path, fields, stored=as_float32):
    """A copy of a GGUF file with other metadata, where None removes a field, and what `stored` makes of its tensors."""
    file = GGUFFile(source)
    writer = gguf.GGUFWriter(path, fields.get("general.architecture", file.fields["general.architecture"]))
    types = gguf.GGUFValueType
    kinds = {bool: types.BOOL, str: types.STRING, int: types.UINT32, float: types.FLOAT32}
    for name in dict.fromkeys((*file.fields, *fields)):
        value = fields[name] if name in fields else file.fields[name]
        if name == "general.architecture" or value is None:
            continue
        kind, items = file.types.get(name, (None, None))
        if name in fields and not isinstance(value, list):
            kind, items = kinds[type(value)], None
        value = value.tolist() if isinstance(value, np.ndarray) else value
        kind = kinds[type(value)] if kind is None else gguf.GGUFValueType(kind)
        writer.add_key_value(name, value, kind, None if items is None else gguf.GGUFValueType(items))
    for tensor in file.tensors.values():
        data, kind = stored(tensor)
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


FLOAT16S = {  # where a block's float16 numbers begin, if not with its first byte alone
    "Q4_1": (0, 2),
    "Q5_1": (0, 2),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
}


def random_blocks(kind, shape, rng, size=1.0):
    """The bytes of a quantised tensor: any bytes, but that every step and offset is a float16 of some size."""
    block = BLOCKS[kind]
    blocks = rng.integers(0, 256, (np.prod(shape) // block.numbers, block.bytes), dtype=np.uint8)
    for start in FLOAT16S.get(block.name, (0,)):
        steps = (size * rng.standard_normal(len(blocks))).astype("f2")
        blocks[:, start : start + 2] = steps[:, None].view(np.uint8)
    return blocks.reshape(shape[0], -1)


def quantised(source, path, kinds, rng):
    """A copy of a GGUF file whose matrices are random weights of some types, which they take in turn."""
    turns = itertools.cycle(kinds)

    def stored(tensor):
        if len(tensor.shape) == 1:
            return as_float32(tensor)
        kind = next(turns)
        size = 0.5 / np.sqrt(tensor.shape[1]) / dequantize(random_blocks(kind, (1, 2**15), rng), kind, (2**15,)).std()
        return random_blocks(kind, tensor.shape, rng, size), gguf.GGMLQuantizationType(kind)

    return changed(source, path, {}, stored)
