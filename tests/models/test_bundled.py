"""The two models that come with minilora, and their recipes."""

import json
import math
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from safetensors import safe_open

from minilora.data import ByteTokenizer, EncoderTokenizer, load_corpus
from minilora.data.masked import masked_batch
from minilora.experiments.pretrain_decoder import DECODER
from minilora.experiments.pretrain_encoder import ENCODER
from minilora.experiments.pretrain_reader import ROUNDS, stages
from minilora.experiments.reader_probe import copying_bits
from minilora.models import GPT, RobertaForMaskedLM, load_bundled
from minilora.models.bundled import ASSETS, bundled_recipe
from minilora.training import evaluate_loss

KINDS = {kind.name: kind for kind in (DECODER, ENCODER)}
TEXT = "The function returns a new list that holds the values of the arguments in the same order. " * 2
FROM_FLOAT16 = 0.005  # bits per byte: the recipe's numbers are those before the weights were rounded


@pytest.fixture(scope="module", params=KINDS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return load_bundled(name)


@pytest.fixture(scope="module")
def recipe(name):
    return bundled_recipe(name)


def bits_per_byte(model, kind, tokens):
    held_out = kind.held_out(tokens, length=model.config.n_positions, batch_size=16)
    return evaluate_loss(model, held_out) / math.log(2)


# ---- the file


def test_it_is_small_and_in_float16(name):
    file = ASSETS / f"{name}.safetensors"
    assert file.stat().st_size <= 8_000_000
    with safe_open(file, framework="numpy") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}


def test_it_loads_and_is_finite(name, model):
    assert type(model) is {"decoder": GPT, "encoder": RobertaForMaskedLM}[name]
    tokenizer, V = {"decoder": (ByteTokenizer(), 256), "encoder": (EncoderTokenizer(), 260)}[name]
    ids = np.array(tokenizer.encode(TEXT))[None, :]
    logits = model.forward(ids)[0]
    assert logits.shape == (*ids.shape, V) and logits.dtype == np.float32
    assert np.isfinite(logits).all()


def test_the_decoder_reads_english():
    decoder, tokens = load_bundled("decoder"), ByteTokenizer().encode(TEXT[: len(TEXT) // 2])
    assert bits_per_byte(decoder, DECODER, tokens) < 3.0
    assert bits_per_byte(decoder, DECODER, np.random.default_rng(0).permutation(tokens)) > 4.0


def test_the_encoder_fills_gaps_from_both_sides():
    """It needs the text, and what follows a gap as much as what comes before it."""
    encoder, rng = load_bundled("encoder"), np.random.default_rng(0)
    window = ENCODER.encode([TEXT[:60]])[:-1]
    batch = masked_batch([window] * 64, rng)

    def bits(ids):
        return float(encoder.loss(batch._replace(ids=ids))[0]) / math.log(2)

    def shuffled(keep):
        """All that is not hidden, in random order, but for what `keep` keeps of a row."""
        ids = batch.ids.copy()
        for row, hidden in zip(ids, batch.loss_mask, strict=True):
            places = np.flatnonzero(~hidden & ~keep)
            row[places] = row[rng.permutation(places)]
        return ids

    half = np.arange(batch.ids.shape[1]) < batch.ids.shape[1] // 2
    none = np.zeros_like(half)
    assert bits(batch.ids) < 2.0 < bits(shuffled(half)) < bits(shuffled(none))
    assert bits(batch.ids) + 1.0 < bits(shuffled(~half))


def test_each_load_is_a_model_of_its_own(name, model):
    other = load_bundled(name, dtype="float64")
    for theirs, ours in zip(other.parameters(), model.parameters(), strict=True):
        assert theirs.data.dtype == np.float64
        np.testing.assert_array_equal(theirs.data, ours.data)
        theirs.data[...] = 0.0
    assert all(p.data.any() for p in model.parameters())


@pytest.mark.parametrize("unknown", ["gpt2", "../decoder", ""])
def test_an_unknown_name_lists_the_known_ones(unknown):
    for load in (load_bundled, bundled_recipe):
        with pytest.raises(ValueError, match=f"name was '{unknown}'; the bundled models are decoder, encoder"):
            load(unknown)


# ---- the recipe


def test_the_recipe_says_how_it_was_made(name, recipe, model):
    shape = recipe["config"]["model"]
    assert {name: getattr(model.config, name) for name in shape} == shape
    assert recipe["corpus"]["bytes"].keys() >= {"valid", "test"}
    assert all(recipe[name] for name in ("minilora", "python", "numpy", "machine", "date", "seconds"))
    if name == "decoder":
        assert recipe["command"].startswith("python -m minilora.experiments.pretrain_reader")
        assert recipe["stages"][-1]["train"] == json.loads(json.dumps(asdict(stages(ROUNDS)[-1].train)))
        assert recipe["start"]["recipe"]["command"].startswith("minilora pretrain")
        recipe = recipe["start"]["recipe"]
    assert recipe["command"].startswith("minilora pretrain")
    train = recipe["config"]["train"]
    assert recipe["tokens_seen"] == train["steps"] * train["batch_size"] * shape["n_positions"]
    assert recipe["config"]["corpus"] == "prose"
    assert {"seed", "lr", "schedule"} <= train.keys()


def test_every_source_of_the_decoders_corpus_names_its_licence():
    sources = bundled_recipe("decoder")["corpus"]["sources"]
    assert {"stdlib", "wordnet-base"} < sources.keys()
    assert all(source["licence"] and len(source["train"]["sha256"]) == 64 for source in sources.values())


def test_the_decoder_copies_what_it_reads():
    """A made-up name costs little the second time, and a random string less than its first time."""
    bits = copying_bits(load_bundled("decoder"), n=64)
    assert bits["name_second"] < 1.0 and bits["name_first"] > 5.0
    assert bits["string_second"] < 0.5 * bits["string_first"]


def test_the_encoder_is_what_the_command_makes():
    config = bundled_recipe("encoder")["config"]["train"]
    train = ENCODER.config.train
    assert {key: getattr(train, key) for key in config} == config | {"betas": tuple(config["betas"])}


def test_the_file_names_the_same_corpus(name, recipe):
    assert len(recipe["corpus"]["id"]) == 12
    with safe_open(ASSETS / f"{name}.safetensors", framework="numpy") as file:
        assert f'"corpus": "{recipe["corpus"]["id"]}"' in file.metadata()["minilora"]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_it_beats_its_rival_by_a_clear_margin(name, recipe, split):
    margin = {"decoder": 0.4, "encoder": 2.0}[name]  # bits; gzip knows more than how frequent each byte is
    assert recipe["bits_per_byte"][split] < recipe[f"{KINDS[name].rival}_bits_per_byte"][split] - margin


def test_its_validation_loss_fell(name, recipe):
    if name == "decoder":  # its first part, on prose alone; the second starts with copying, which costs some of it
        assert recipe["bits_per_byte"]["test"] <= 1.66
        assert recipe["validation"][-1]["bits_per_byte"] == pytest.approx(recipe["bits_per_byte"]["valid"], abs=1e-4)
        recipe = recipe["start"]["recipe"]
    steps = [point["step"] for point in recipe["validation"]]
    bits = [point["bits_per_byte"] for point in recipe["validation"]]
    assert len(bits) >= 4 and steps == sorted(set(steps)) and steps[-1] == recipe["config"]["train"]["steps"]
    assert bits[-1] < bits[0] - 0.2 and bits[-1] == pytest.approx(min(bits), abs=0.02)
    assert all(later < earlier + 0.05 for earlier, later in pairwise(bits))
    assert bits[-1] == pytest.approx(recipe["bits_per_byte"]["valid"], abs=1e-4)
    curve = recipe["train_bits_per_byte"]
    assert np.mean(curve[-3:]) < np.mean(curve[:3]) - 0.5


@pytest.mark.slow
def test_the_recorded_bits_come_out_again(name, recipe, model):
    corpus = load_corpus("prose")
    tokens = KINDS[name].encode(corpus.texts("test"))
    if len(tokens) != recipe["corpus"]["bytes"]["test"]:
        pytest.skip(f"made from the prose of Python {recipe['python']}; this is {corpus.python}, whose prose differs")
    ours, expected = bits_per_byte(model, KINDS[name], tokens), recipe["bits_per_byte"]["test"]
    assert ours == pytest.approx(expected, abs=FROM_FLOAT16)
