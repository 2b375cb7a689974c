"""Measuring, in short runs, and what the page says of it."""

from dataclasses import replace

import pytest

from minilora.files import read_json
from minilora.museum import EXHIBITS, exchanged, scenes
from minilora.museum.__main__ import main
from minilora.museum.measure import measure, run_wrong
from minilora.museum.page import BETTER, WORSE, figure_name, verdict_of


@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [(None, WORSE), (3.3, WORSE), (3.15, "no more than a seed"), (2.9, "no more than a seed"), (2.7, BETTER)],
)
def test_a_verdict_needs_more_than_seeds_differ(wrong, verdict):
    exhibit = EXHIBITS["layernorm-mean-taken-twice"]
    right = {f"{seed}": {"held_out": loss} for seed, loss in enumerate((3.0, 2.9, 3.1))}
    made_up = {"right": {exhibit.scene: right}, "wrong": {exhibit.name: {"held_out": wrong}}}
    assert verdict_of(exhibit, made_up) == verdict


# ---- the runs themselves, short


@pytest.fixture
def short(monkeypatch):
    """Three steps of the small GPT, from nothing."""
    scene = scenes.SCENES["gpt"]
    config = replace(scene.config, steps=3, batch_size=2)
    monkeypatch.setitem(scenes.SCENES, "gpt", scene._replace(config=config, from_nothing=False))
    scenes.weights_before.cache_clear()
    yield
    scenes.weights_before.cache_clear()


def test_a_wrong_run_begins_as_the_right_one_and_leaves_it(short, tmp_path):
    name = "repeated-ids-overwrite"
    results = measure(tmp_path, [name], command="here")
    right, wrong = results["right"]["gpt"]["0"], results["wrong"][name]
    assert wrong["losses"][0] == right["losses"][0] and wrong["losses"][1:] != right["losses"][1:]
    assert wrong["held_out"] != right["held_out"]
    assert read_json(tmp_path / "museum.json")["command"] == "here"


def test_a_loss_on_the_wrong_targets_is_judged_by_the_right_program(short, tmp_path):
    name = "targets-not-shifted"
    results = measure(tmp_path, [name])
    with exchanged(EXHIBITS[name].instead):
        model, _ = scenes.train("gpt", 0)
        by_itself = scenes.judged("gpt", 0, model)
    assert by_itself < results["wrong"][name]["held_out"] == scenes.judged("gpt", 0, model)


def test_a_model_has_read_with_the_right_functions_before_it_is_led_astray(monkeypatch):
    scene = scenes.SCENES["gpt"]
    monkeypatch.setitem(scenes.SCENES, "gpt", scene._replace(config=replace(scene.config, steps=3, batch_size=2)))
    monkeypatch.setattr(scenes, "STEPS_BEFORE", 4)
    scenes.weights_before.cache_clear()
    before = scenes.weights_before("gpt")
    with exchanged(EXHIBITS["targets-not-shifted"].instead):
        assert scenes.weights_before("gpt") is before
        begun = scenes.model_of("gpt", 5)
    random = dict(scene.model(5, "float32").named_parameters())
    for path, p in begun.named_parameters():
        assert (p.data == before[path]).all() and (p.data != random[path].data).any(), path
    assert scenes.weights_before("lora") == {}
    scenes.weights_before.cache_clear()


def test_a_wrong_run_that_is_the_first_has_read_with_the_right_functions_too(monkeypatch):
    scene = scenes.SCENES["gpt"]
    monkeypatch.setitem(scenes.SCENES, "gpt", scene._replace(config=replace(scene.config, steps=3, batch_size=2)))
    monkeypatch.setattr(scenes, "STEPS_BEFORE", 4)
    found = []
    for start in (lambda: scenes.weights_before("gpt"), lambda: run_wrong("targets-not-shifted")):
        scenes.weights_before.cache_clear()
        start()
        found.append(scenes.weights_before("gpt"))
    scenes.weights_before.cache_clear()
    right, beside = found
    assert all((right[path] == beside[path]).all() for path in right)


def test_what_is_done_is_not_done_again(short, tmp_path, monkeypatch):
    first = measure(tmp_path, ["decay-without-lr"])
    monkeypatch.setattr("minilora.museum.measure.train", lambda *_: pytest.fail("was run again"))
    assert measure(tmp_path, ["decay-without-lr"])["wrong"] == first["wrong"]


def test_an_unknown_exhibit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="names had 'the-moon', which is not in the museum; it has dropout-mask"):
        measure(tmp_path, ["the-moon"])
    assert not list(tmp_path.iterdir())


def test_the_command_writes_what_there_is(short, tmp_path, capsys):
    written = tmp_path / "museum.md"
    assert main(["decay-without-lr", "--out", str(tmp_path / "there"), "--page", str(written)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(written)
    text = written.read_text()
    assert "1 were measured" in text and text.count("not measured yet") == 2 * (len(EXHIBITS) - 1)
    assert (tmp_path / "there" / figure_name(5)).exists() and "](there/room_5.png)" in text and "room_4" not in text
