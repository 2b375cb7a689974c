"""Pretraining a reader in small: stages in their order, each goes on where it stopped, and the recipe says it all."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from minilora.data.corpus_folder import make_corpus_folder
from minilora.data.documentation import Source
from minilora.experiments.pretrain_reader import COOLING, COPYING, READING, joined, run, stages
from minilora.files import load_arrays, save_arrays
from minilora.models import GPT, GPTConfig, load_model, save_model, weights_hash

CONFIG = GPTConfig(vocab_size=256, n_positions=64, n_layer=1, d_model=16, n_head=2, d_mlp=24)
PARTS = {"own": 0.5, "strings": 0.25, "lists": 0.25}


def tiny(plan):
    """The stages with windows that need no WordNet, of two steps each."""
    return [replace(stage, parts=PARTS, train=replace(stage.train, steps=2, batch_size=2)) for stage in plan]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A corpus, and a model to start from."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "html").mkdir()
    (folder / "html" / "page.html").write_text("<p>A sentence that is a page of its own.</p>")
    make_corpus_folder(folder / "corpus", [Source("a-doc", str(folder / "html"), "a licence")])
    save_model(GPT(CONFIG, np.random.default_rng(0)), folder / "start.safetensors")
    (folder / "start.json").write_text('{"validation": [{"step": 5, "bits_per_byte": 7.5}]}')
    return folder


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, given):
    """The folder of a run of one round, and its recipe."""
    folder = tmp_path_factory.mktemp("reader")
    start, plan = given / "start.safetensors", tiny(stages(1))
    return folder, run(folder, given / "corpus", plan, start=start, checkpoint_every=1, command="the command")


def test_stages_read_more_and_more_and_cool_in_the_end():
    plan = stages(3)
    assert [stage.name for stage in plan] == ["00-copying", "01-reading", "02-reading", "03-reading", "03-cooling"]
    assert [stage.parts for stage in plan] == [COPYING, READING, READING, READING, COOLING]
    assert [stage.train.schedule for stage in plan] == ["constant"] * 4 + ["linear"]
    assert len({stage.train.seed for stage in plan}) == 5
    assert stages(4)[:4] == plan[:4]  # more rounds go on from the same
    assert all(sum(parts.values()) == pytest.approx(1.0) for parts in (COPYING, READING, COOLING))


def test_prose_takes_the_part_of_what_is_left_out():
    for stage in stages(1, without=("tasks", "strings")):
        assert "tasks" not in stage.parts and "strings" not in stage.parts
        assert sum(stage.parts.values()) == pytest.approx(1.0)
    assert stages(1, without=("tasks",))[1].parts["own"] == READING["own"] + READING["tasks"]


def test_the_recipe_says_how_it_was_made(pretrained, given):
    folder, recipe = pretrained
    assert json.loads((folder / "decoder.json").read_text()) == json.loads(json.dumps(recipe))
    sources = recipe["corpus"]["sources"]
    assert recipe["command"] == "the command" and recipe["tokens_seen"] == 3 * 2 * 2 * 64
    start = load_model(given / "start.safetensors")
    assert recipe["start"] == {"id": weights_hash(start), "recipe": {"validation": [{"step": 5, "bits_per_byte": 7.5}]}}
    assert recipe["gzip_bits_per_byte"].keys() == recipe["bits_per_byte"].keys() == {"valid", "test"}
    assert [point["step"] for point in recipe["validation"]] == [2, 4, 6]
    assert (folder / "decoder.png").read_bytes().startswith(b"\x89PNG")
    assert sources["a-doc"]["licence"] == "a licence" and len(sources["stdlib"]["train"]["sha256"]) == 64
    assert [record["stage"] for record in recipe["stages"]] == ["00-copying", "01-reading", "01-cooling"]
    assert recipe["stages"][-1]["validation"][-1]["bits_per_byte"] == pytest.approx(recipe["bits_per_byte"]["valid"])
    arrays, _ = load_arrays(folder / "decoder.safetensors", "gpt")
    assert {a.dtype for a in arrays.values()} == {np.dtype("float16")}
    last = load_model(folder / "01-cooling" / "decoder.safetensors")
    assert all(np.array_equal(p.data.astype("float16"), arrays[name]) for name, p in last.named_parameters())


def test_each_stage_starts_from_the_one_before_it(pretrained):
    folder, recipe = pretrained
    names = [record["stage"] for record in recipe["stages"]]
    weights = [load_model(folder / name / "decoder.safetensors").wte.W.data for name in names]
    for before, after in pairwise(weights):
        assert 0 < np.abs(after - before).max() < 0.02  # two steps away, not a new model


def test_what_was_done_is_not_done_again_and_more_rounds_go_on(pretrained, given, tmp_path):
    folder, recipe = pretrained
    mark = load_model(folder / "01-reading" / "decoder.safetensors")
    mark.wte.W.data[:] = 7.0  # a mark, to be recognised in what comes after it
    for name in ("00-copying", "01-reading"):
        (tmp_path / name).mkdir()
        save_model(mark, tmp_path / name / "decoder.safetensors")
        (tmp_path / name / "stage.json").write_text((folder / name / "stage.json").read_text())
    again = run(tmp_path, given / "corpus", tiny(stages(2)), start=given / "start.safetensors")
    most = 4 * 2 * 2 * 64  # what lies behind the last token that counts is not read
    assert 0.9 * most < again["tokens_seen"] <= most and again["stages"][:2] == recipe["stages"][:2]
    assert np.abs(load_model(tmp_path / "02-cooling" / "decoder.safetensors").wte.W.data - 7.0).max() < 0.1


def test_a_stage_goes_on_where_it_stopped(pretrained, given, tmp_path):
    """To the same weights; a mark in the checkpoint's history shows that it did not begin anew."""
    folder, _ = pretrained
    arrays, about = load_arrays(folder / "00-copying" / "checkpoint.previous.safetensors", "run")
    assert about["step"] == 1
    about["history"]["losses"][0] = 100.0
    (tmp_path / "00-copying").mkdir()
    save_arrays(tmp_path / "00-copying" / "checkpoint.safetensors", arrays, about)
    run(tmp_path, given / "corpus", tiny(stages(1))[:1], start=given / "start.safetensors")
    history = json.loads((tmp_path / "00-copying" / "history.json").read_text())
    assert history["losses"][0] == 100.0 and len(history["losses"]) == 2
    ours, theirs = (load_model(run / "00-copying" / "decoder.safetensors") for run in (tmp_path, folder))
    for (_, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert np.array_equal(a.data, b.data)


def test_a_checkpoint_of_another_start_is_refused(pretrained, given, tmp_path):
    """It is another run: its weights came from elsewhere."""
    folder, _ = pretrained
    (tmp_path / "00-copying").mkdir()
    name = "00-copying/checkpoint.safetensors"
    (tmp_path / name).write_bytes((folder / name).read_bytes())
    save_model(GPT(CONFIG, np.random.default_rng(1)), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="these differ: start"):
        run(tmp_path, given / "corpus", tiny(stages(1)), start=tmp_path / "other.safetensors")


def test_curves_of_runs_that_follow_each_other_are_joined():
    curves = [[{"step": 2, "bits": 1}, {"step": 3, "bits": 2}], [{"step": 2, "bits": 3}]]
    assert joined(curves) == [{"step": 2, "bits": 1}, {"step": 3, "bits": 2}, {"step": 5, "bits": 3}]
    assert joined([[], []]) == []
