"""Each ablation leaves out what it says, and its row ends in the recipe."""

import json

import numpy as np
import pytest

from minilora.data.reading_windows import ReadingWindows
from minilora.experiments import reader_ablations
from minilora.experiments.pretrain_reader import COOLING, COPYING, MODEL, READING, RECORD
from minilora.experiments.reader_ablations import WITHOUT, ablations, add_to_recipe, plan_without
from minilora.models import GPT, GPTConfig, save_model

CONFIG = GPTConfig(vocab_size=256, n_positions=256, n_layer=1, d_model=16, n_head=2)
LORA = {"method": "lora", "steps": 1, "batch_size": 2, "threads": 1}


@pytest.mark.parametrize("name", WITHOUT)
def test_what_is_left_out_is_read_in_no_stage(name):
    plan = plan_without(WITHOUT[name])
    assert len(plan) == 3
    for stage, whole in zip(plan, (COPYING, READING, COOLING), strict=True):
        assert stage.parts.keys() == whole.keys() - set(WITHOUT[name])
        assert sum(stage.parts.values()) == pytest.approx(1.0)


def test_without_all_that_is_generated_only_prose_is_left():
    left = {kind for stage in plan_without(WITHOUT["all that is generated"]) for kind in stage.parts}
    assert left == {"own", "prose"} == set(ReadingWindows.KINDS[:2])


def test_the_table_is_made_once_and_added_to_the_recipe(tmp_path, monkeypatch):
    """With a stand-in for the pretraining, which test_pretrain_reader.py tries; the probe is real."""
    pretrained, taken = [], {}

    def run(folder, corpus, plan, *, start):
        pretrained.append((folder.name, corpus, start))
        folder.mkdir(exist_ok=True)
        taken[folder.name] = [stage.name for stage in plan if (folder / stage.name / MODEL).exists()]
        for stage in plan:
            (folder / stage.name).mkdir(exist_ok=True)
            (folder / stage.name / RECORD).write_text("{}")
            (folder / stage.name / MODEL).write_bytes(stage.name.encode())
        save_model(GPT(CONFIG, np.random.default_rng(0)), folder / "decoder.safetensors")
        return {"tokens_seen": 7, "start": {"id": "an id"}}

    monkeypatch.setattr(reader_ablations, "run", run)
    monkeypatch.setattr(reader_ablations, "LORA", LORA)
    names = ("nothing", "tasks", "strings")
    rows = ablations(tmp_path, "corpus", start="prose", without=names[:1])
    rows = ablations(tmp_path, "corpus", start="prose", without=names)
    assert pretrained == [(name, "corpus", "prose") for name in names]
    assert taken == {"nothing": [], "tasks": ["00-copying"], "strings": []}  # where what is read is the same
    assert (tmp_path / "tasks" / "00-copying" / MODEL).read_bytes() == b"00-copying"
    assert [*rows] == [*names] and rows["tasks"]["without"] in (("tasks",), ["tasks"])
    assert rows["nothing"]["prose"] > 7 and rows["nothing"]["adapted"][0]["steps"] == 1

    (tmp_path / "decoder.json").write_text('{"command": "as before"}')
    save_model(GPT(CONFIG, np.random.default_rng(0)), tmp_path / "decoder.safetensors")
    add_to_recipe(tmp_path / "decoder.json", tmp_path, [LORA])
    recipe = json.loads((tmp_path / "decoder.json").read_text())
    assert recipe["command"] == "as before" and recipe["ablations"] == json.loads(json.dumps(rows))
    assert recipe["probe"]["prose"] == pytest.approx(rows["nothing"]["prose"])


def test_it_starts_from_a_decoder_of_prose_alone_which_has_to_be_given(tmp_path, capsys):
    with pytest.raises(SystemExit):
        reader_ablations.main(["--out", str(tmp_path)])
    assert "--start is needed" in capsys.readouterr().err
