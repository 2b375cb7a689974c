"""The decoder that comes with minilora, and its recipe."""

import math
from itertools import pairwise

import numpy as np
import pytest
from safetensors import safe_open

from minilora.data import ByteTokenizer, load_corpus, windows
from minilora.data.batches import encode_documents
from minilora.models import load_bundled
from minilora.models.bundled import ASSETS, bundled_recipe
from minilora.training import evaluate_loss

FILE = ASSETS / "decoder.safetensors"
TEXT = "The function returns a new list that holds the values of the arguments in the same order. " * 2
FROM_FLOAT16 = 0.005  # bits a byte: the recipe's numbers are those before the weights were rounded


@pytest.fixture(scope="module")
def model():
    return load_bundled()


@pytest.fixture(scope="module")
def recipe():
    return bundled_recipe()


def bits_per_byte(model, tokens):
    return evaluate_loss(model, windows(tokens, length=model.config.n_positions, batch_size=16)) / math.log(2)


# ---- the file


def test_it_is_small_and_in_float16():
    assert FILE.stat().st_size <= 8_000_000
    with safe_open(FILE, framework="numpy") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}


def test_it_loads_and_is_finite(model):
    ids = ByteTokenizer().encode(TEXT)[None, :]
    logits = model.forward(ids)[0]
    assert logits.shape == (1, len(TEXT), 256) and logits.dtype == np.float32
    assert np.isfinite(logits).all()


def test_it_reads_english(model):
    tokens = ByteTokenizer().encode(TEXT[: len(TEXT) // 2])
    assert bits_per_byte(model, tokens) < 3.0
    assert bits_per_byte(model, np.random.default_rng(0).permutation(tokens)) > 4.0


def test_each_load_is_a_model_of_its_own(model):
    other = load_bundled(dtype="float64")
    assert other.wte.W.data.dtype == np.float64
    np.testing.assert_array_equal(other.wte.W.data, model.wte.W.data)
    other.wte.W.data[...] = 0.0
    assert model.wte.W.data.any()


@pytest.mark.parametrize("name", ["encoder", "../decoder", ""])
def test_an_unknown_name_lists_the_known_ones(name):
    if (ASSETS / f"{name}.safetensors").is_file() and ".." not in name:
        pytest.skip(f"there is a bundled {name}")
    for load in (load_bundled, bundled_recipe):
        with pytest.raises(ValueError, match=f"name was '{name}'; the bundled models are .*decoder"):
            load(name)


# ---- the recipe


def test_the_recipe_says_how_it_was_made(recipe, model):
    assert recipe["command"].startswith("minilora pretrain")
    shape = recipe["config"]["model"]
    assert {name: getattr(model.config, name) for name in shape} == shape
    train = recipe["config"]["train"]
    assert recipe["tokens_seen"] == train["steps"] * train["batch_size"] * shape["n_positions"]
    assert recipe["config"]["corpus"] == "prose"
    assert recipe["corpus"]["bytes"].keys() == {"train", "valid", "test"}
    assert {"seed", "lr", "schedule"} <= train.keys()
    assert all(recipe[name] for name in ("minilora", "python", "numpy", "machine", "date", "seconds"))


def test_the_file_names_the_same_corpus(recipe):
    assert len(recipe["corpus"]["id"]) == 12
    with safe_open(FILE, framework="numpy") as file:
        assert f'"corpus": "{recipe["corpus"]["id"]}"' in file.metadata()["minilora"]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_it_beats_gzip_by_a_clear_margin(recipe, split):
    assert recipe["bits_per_byte"][split] < 2.0
    assert recipe["bits_per_byte"][split] < recipe["gzip_bits_per_byte"][split] - 0.4


def test_its_validation_loss_fell(recipe):
    steps = [point["step"] for point in recipe["validation"]]
    bits = [point["bits_per_byte"] for point in recipe["validation"]]
    assert len(bits) >= 4 and steps == sorted(set(steps)) and steps[-1] == recipe["config"]["train"]["steps"]
    assert bits[-1] < bits[0] - 0.2 and bits[-1] == pytest.approx(min(bits), abs=0.02)
    assert all(later < earlier + 0.05 for earlier, later in pairwise(bits))
    assert bits[-1] == pytest.approx(recipe["bits_per_byte"]["valid"], abs=1e-4)
    curve = recipe["train_bits_per_byte"]
    assert np.mean(curve[-3:]) < np.mean(curve[:3]) - 0.5


@pytest.mark.slow
def test_the_recorded_bits_come_out_again(recipe, model):
    corpus = load_corpus("prose")
    if corpus.id != recipe["corpus"]["id"]:
        pytest.skip(f"made from the prose of Python {recipe['python']}; this is {corpus.python}, whose prose differs")
    tokens = encode_documents(corpus.texts("valid"), ByteTokenizer())
    assert len(tokens) == recipe["corpus"]["bytes"]["valid"]
    assert bits_per_byte(model, tokens) == pytest.approx(recipe["bits_per_byte"]["valid"], abs=FROM_FLOAT16)
