"""Pretraining the encoder in small: it learns, it goes on where it stopped, and what it leaves can be loaded."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from minilora.data.encoder_tokenizer import END, FIRST_BYTE
from minilora.experiments.pretrain import run
from minilora.experiments.pretrain_encoder import ENCODER, unigram_bits_per_byte
from minilora.files import load_arrays, save_arrays
from minilora.models import RobertaForMaskedLM, load_model

TINY = ENCODER.config
TINY = replace(
    TINY,
    model=replace(TINY.model, n_layer=1, d_model=16, n_head=2, d_mlp=24, n_positions=64),
    train=replace(TINY.train, steps=3, batch_size=4, warmup=0.0),
)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The folder of a run of three steps, with the checkpoint that it made after two, and its recipe."""
    folder = tmp_path_factory.mktemp("encoder")
    return folder, run(ENCODER, TINY, folder, checkpoint_every=2, command="the command")


def test_the_recipe_says_how_it_was_made(pretrained):
    folder, recipe = pretrained
    assert json.loads((folder / "encoder.json").read_text()) == json.loads(json.dumps(recipe))
    assert recipe["command"] == "the command" and recipe["tokens_seen"] == 3 * 4 * 64
    assert recipe["config"]["model"]["d_model"] == 16 and recipe["corpus"].keys() == {"id", "bytes"}
    assert 7 < recipe["bits_per_byte"]["test"] < 9 and 4 < recipe["unigram_bits_per_byte"]["test"] < 5
    assert recipe["validation"][0]["bits_per_byte"] == pytest.approx(recipe["bits_per_byte"]["valid"])
    assert (folder / "encoder.png").read_bytes().startswith(b"\x89PNG")


def test_the_model_is_kept_in_half_precision_and_can_be_loaded(pretrained):
    folder, recipe = pretrained
    arrays, about = load_arrays(folder / "encoder.safetensors", "roberta-masked-lm")
    assert {a.dtype for a in arrays.values()} == {np.dtype("float16")}
    assert about["corpus"] == recipe["corpus"]["id"] and about["command"] == "the command"
    model = load_model(folder / "encoder.safetensors")
    assert type(model) is RobertaForMaskedLM and model.config == TINY.model


def test_it_goes_on_where_it_stopped(tmp_path, pretrained):
    """To the same weights; a mark in the checkpoint's history shows that it did not begin anew."""
    folder, _ = pretrained
    arrays, about = load_arrays(folder / "checkpoint.safetensors", "run")
    assert about["step"] == 2
    about["history"]["losses"][0] = 100.0
    save_arrays(tmp_path / "checkpoint.safetensors", arrays, about)
    run(ENCODER, TINY, tmp_path)
    assert json.loads((tmp_path / "history.json").read_text())["losses"][0] == 100.0
    ours, theirs = (load_arrays(run / "encoder.safetensors", "roberta-masked-lm")[0] for run in (tmp_path, folder))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_it_learns_more_than_frequencies(tmp_path):
    train = replace(TINY.train, steps=600, lr=1e-2, warmup=0.05)
    recipe = run(ENCODER, replace(TINY, train=train), tmp_path)
    assert recipe["bits_per_byte"]["test"] < recipe["unigram_bits_per_byte"]["test"]


def test_the_cost_of_a_byte_by_its_frequency():
    train = FIRST_BYTE + np.array([65, 65, 65, 66, 255])
    held_out = np.append(FIRST_BYTE + np.array([65, 66]), END)
    n = 256 + 5
    assert unigram_bits_per_byte(train, held_out) == pytest.approx(-(math.log2(4 / n) + math.log2(2 / n)) / 2)
