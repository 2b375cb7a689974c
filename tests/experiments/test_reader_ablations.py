"""Each ablation leaves out what it says, and its row ends in the recipe."""

import json

import numpy as np
import pytest

from minilora.data.reading_windows import ReadingWindows
from minilora.experiments import reader_ablations
from minilora.experiments.pretrain_reader import COOLING, COPYING, MODEL, READING, RECORD
from minilora.experiments.reader_ablations import (
    BEFORE,
    FINISHED,
    WITHOUT,
    ablations,
    add_to_recipe,
    plan_without,
    table_lines,
)
from minilora.models import GPT, GPTConfig, save_model, weights_hash

CONFIG = GPTConfig(vocab_size=256, n_positions=256, n_layer=1, d_model=16, n_head=2)
LORA = {"method": "lora", "batch_size": 2, "threads": 1}
FEW = dict.fromkeys((BEFORE, *WITHOUT, FINISHED), (1,))


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
        return {"tokens_seen": 7_000_000}

    monkeypatch.setattr(reader_ablations, "run", run)
    monkeypatch.setattr(reader_ablations, "LORA", LORA)
    monkeypatch.setattr(reader_ablations, "STEPS_OF_LORA", FEW)
    names = ("nothing", "tasks", "strings")
    start = tmp_path / "prose.safetensors"
    save_model(GPT(CONFIG, np.random.default_rng(1)), start)
    rows = ablations(tmp_path, "corpus", start=start, without=names[:1])
    rows = ablations(tmp_path, "corpus", start=start, without=names)
    assert pretrained == [(name, "corpus", start) for name in names]
    assert taken == {"nothing": [], "tasks": ["00-copying"], "strings": []}  # where what is read is the same
    assert (tmp_path / "tasks" / "00-copying" / MODEL).read_bytes() == b"00-copying"
    assert [*rows] == [BEFORE, *names] and rows["tasks"]["without"] in (("tasks",), ["tasks"])
    assert rows["nothing"]["prose"] > 7 and [run["steps"] for run in rows["nothing"]["adapted"]] == [1]
    before = rows["nothing"]
    monkeypatch.setattr(reader_ablations, "STEPS_OF_LORA", FEW | {"nothing": (1, 2)})
    rows = ablations(tmp_path, "corpus", start=start, without=names)
    assert len(pretrained) == 3 and rows["nothing"]["adapted"][:1] == before["adapted"]
    assert [run["steps"] for run in rows["nothing"]["adapted"]] == [1, 2]

    with pytest.raises(ValueError, match="it must be the one that 'before' in .* started from"):
        ablations(tmp_path, "corpus", start=tmp_path / "nothing" / MODEL, without=names)

    (tmp_path / "decoder.json").write_text('{"command": "as before", "tokens_seen": 21000000}')
    save_model(GPT(CONFIG, np.random.default_rng(0)), tmp_path / "decoder.safetensors")
    add_to_recipe(tmp_path / "decoder.json", tmp_path)
    recipe = json.loads((tmp_path / "decoder.json").read_text())
    table = recipe["ablations"]["rows"]
    assert recipe["command"] == "as before" and [*table] == [BEFORE, *names, FINISHED]
    assert table[FINISHED]["prose"] == table["tasks"]["prose"] == pytest.approx(rows["tasks"]["prose"])
    assert {row.get("start") for row in table.values()} == {weights_hash(GPT(CONFIG, np.random.default_rng(1))), None}
    assert table["tasks"]["prose"] != table[BEFORE]["prose"] == pytest.approx(rows[BEFORE]["prose"])
    monkeypatch.setattr(reader_ablations, "adapted", None)
    assert add_to_recipe(tmp_path / "decoder.json", tmp_path)["ablations"]["rows"] == table  # nothing is measured twice
    assert "samples" in rows["tasks"]["adapted"][0] and "samples" not in table["tasks"]["adapted"][0]


def test_what_is_measured_is_kept_if_the_next_measurement_is_stopped(tmp_path, monkeypatch):
    start = tmp_path / "prose.safetensors"
    save_model(GPT(CONFIG, np.random.default_rng(1)), start)

    def adapted(new_model, *, steps, **settings):
        if steps == 900:
            raise KeyboardInterrupt
        return {"steps": steps}

    monkeypatch.setattr(reader_ablations, "adapted", adapted)
    with pytest.raises(KeyboardInterrupt):
        ablations(tmp_path, "corpus", start=start, without=())
    (run,) = json.loads((tmp_path / "ablations.json").read_text())[BEFORE]["adapted"]
    assert run == {"steps": 300}


def test_the_table_says_what_each_row_reached():
    runs = [{"steps": 300, "loss": 0.1584, "slot_exact": 1 / 6}, {"steps": 900, "loss": 0.1149, "slot_exact": 0.75}]
    bits = {"prose": 1.683, "name_second": 0.954, "string_second": 0.168}
    rows = {"strings": {"tokens_seen": 4_941_124, **bits, "adapted": runs[:1]}}
    rows[FINISHED] = {**rows["strings"], "tokens_seen": 21_557_307, "prose": 1.539, "adapted": runs}
    head, _, strings, finished = table_lines(rows)
    assert head.endswith("loss at 300  right at 300, %  loss at 900  right at 900, %")
    assert strings.split() == ["strings", "4.9", "1.68", "0.95", "0.17", "0.158", "17", "-", "-"]
    assert finished.split()[-8:] == ["21.6", "1.54", "0.95", "0.17", "0.158", "17", "0.115", "75"]


def test_it_starts_from_a_decoder_of_prose_alone_which_has_to_be_given(tmp_path, capsys):
    with pytest.raises(SystemExit):
        reader_ablations.main(["--out", str(tmp_path)])
    assert "--start is needed" in capsys.readouterr().err
