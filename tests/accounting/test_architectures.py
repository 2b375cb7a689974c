"""Every tensor of the paper's architectures by formula: against a model in memory, and against known sizes."""

import math
from dataclasses import replace

import numpy as np
import pytest

from minilora.accounting import ARCHITECTURES, Architecture, architecture_of, count_parameters, find_architecture
from minilora.models import GPT, GPTConfig, Roberta, load_bundled
from models.tiny_deberta import WITHOUT_CONV
from models.tiny_deberta import tiny_encoder as tiny_deberta
from models.tiny_encoders import CONFIG, tiny
from models.tiny_llama import KINDS, tiny_llama


def test_the_shapes_are_those_of_a_gpt_in_memory():
    config = GPTConfig(vocab_size=11, n_positions=7, n_layer=3, d_model=6, n_head=2, d_mlp=10)
    model = GPT(config, np.random.default_rng(0))
    architecture = architecture_of(model.config)
    assert architecture.shapes == {name: p.data.shape for name, p in model.named_parameters()}
    assert architecture.n_parameters == count_parameters(model).total
    of_biases = sum(p.data.size for name, p in model.named_parameters() if name.endswith("bias"))
    assert architecture.n_biases == of_biases


@pytest.mark.parametrize(
    "encoder",
    [tiny(Roberta, config=replace(CONFIG, pad_id=4)), tiny_deberta(), tiny_deberta(config=WITHOUT_CONV)],
    ids=["RoBERTa", "DeBERTa", "v3"],
)
def test_the_shapes_are_those_of_an_encoder_in_memory(encoder):
    architecture = architecture_of(encoder.config)
    assert architecture.shapes == {name: p.data.shape for name, p in encoder.named_parameters()}
    assert architecture.n_parameters == count_parameters(encoder).total


@pytest.mark.parametrize("kind", KINDS)
def test_the_shapes_are_those_of_a_llama_in_memory(kind):
    model = tiny_llama(kind)
    architecture = architecture_of(model.config)
    assert architecture.shapes == {name: p.data.shape for name, p in model.named_parameters()}
    assert architecture.n_parameters == count_parameters(model).total
    of_biases = sum(p.data.size for name, p in model.named_parameters() if name.endswith("bias"))
    assert architecture.n_biases == of_biases


def test_the_bundled_decoder_has_the_size_of_the_formula():
    model = load_bundled()
    assert architecture_of(model.config).n_parameters == count_parameters(model).total


# Of the checkpoints on the Hugging Face hub, without the heads that are not tied.
CHECKPOINTS = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "roberta-base": 124_055_040,
    "roberta-large": 354_310_144,
    "smollm2-135m": 134_515_008,
    "qwen2-0.5b": 494_032_768,
    "llama-3.2-1b": 1_235_814_400,
    "llama-2-7b": 6_738_415_616,
}


@pytest.mark.parametrize(("name", "size"), CHECKPOINTS.items(), ids=CHECKPOINTS.keys())
def test_the_sizes_of_checkpoints(name, size):
    assert ARCHITECTURES[name].n_parameters == size


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_size_is_the_sum_of_the_shapes(name):
    a = ARCHITECTURES[name]
    assert a.n_parameters == sum(math.prod(shape) for shape in a.shapes.values())
    assert a.n_biases == sum(math.prod(shape) for name, shape in a.shapes.items() if name.endswith("bias"))
    block, C = sum(math.prod(shape) for shape in a.block_shapes.values()), a.d_model
    if a.family == "llama":
        biases = a.n_biases // a.n_layer
        assert block == 2 * C * (a.n_head + a.n_kv_head) * a.head_size + 3 * C * a.d_mlp + 2 * C + biases
    else:
        assert block == 12 * C**2 + 13 * C
    assert a.d_model % a.n_head == 0


def test_deberta_has_a_convolution_and_relative_positions():
    a, C = ARCHITECTURES["deberta-v2-xxlarge"], 1536
    assert a.shapes["conv.W"] == (C, C, 3) and a.shapes["wre.W"] == (512, C) and "wpe.W" not in a.shapes
    without = Architecture("deberta", 128100, 512, 48, C, 24)
    assert a.n_parameters - without.n_parameters == 3 * C * C + C + 2 * C


def test_a_classification_head_is_the_encoder_s():
    a, C = ARCHITECTURES["roberta-base"], 768
    assert a.classifier_size(3) == C * C + C + 3 * C + 3
    lora = 8 * 2 * C * 2 * 12
    assert lora + a.classifier_size(3) == 887_811  # https://github.com/microsoft/LoRA/issues/16
    with pytest.raises(ValueError, match="family was 'gpt'; only encoders have a classification head"):
        ARCHITECTURES["gpt2"].classifier_size(2)


def test_the_longest_sequence():
    longest = {name: a.longest for name, a in ARCHITECTURES.items()}
    assert longest["roberta-base"] == longest["roberta-large"] == 512
    assert longest["gpt2-xl"] == 1024 and longest["deberta-v2-xxlarge"] == math.inf
    assert architecture_of(CONFIG).longest == CONFIG.n_positions
    assert architecture_of(replace(CONFIG, pad_id=4)).longest == CONFIG.n_positions


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="architecture was 'gpt5'; it must be one of gpt2, .*gpt3-175b"):
        find_architecture("gpt5")
    with pytest.raises(ValueError, match="family was 'rnn'; it must be one of 'gpt', 'roberta', 'deberta'"):
        Architecture("rnn", 1, 1, 1, 1, 1)
