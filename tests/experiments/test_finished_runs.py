"""Finished runs are kept, and only those of this experiment."""

import json

import pytest

from minilora.experiments.finished_runs import FinishedRuns

ABOUT = {"task": "sums", "seeds": (0, 1)}


def test_a_finished_run_is_not_computed_again(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"score": len(calls), "values": (0.1, 1 / 3)}

    first = FinishedRuns(tmp_path / "runs.jsonl", ABOUT)
    kept = first.result({"method": "a", "lr": 1e-3}, compute)
    assert first.result({"method": "a", "lr": 1e-3}, compute) is kept and kept["score"] == 1
    assert first.result({"method": "a", "lr": 3e-3}, compute)["score"] == 2
    again = FinishedRuns(tmp_path / "runs.jsonl", ABOUT)
    assert again.result({"lr": 1e-3, "method": "a"}, compute) == {"score": 1, "values": [0.1, 1 / 3]}
    assert len(calls) == 2


def test_a_key_with_a_tuple_is_found_again(tmp_path):
    runs = FinishedRuns(tmp_path / "runs.jsonl", ABOUT)
    assert runs.result({"targets": ("q_proj", "v_proj")}, lambda: 1) == 1
    assert runs.result({"targets": ("q_proj", "v_proj")}, lambda: 2) == 1


def test_each_run_is_a_line_of_json(tmp_path):
    FinishedRuns(tmp_path / "runs.jsonl", ABOUT).result({"seed": 3}, lambda: 0.5)
    lines = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert lines == [{"task": "sums", "seeds": [0, 1]}, {"run": {"seed": 3}, "result": 0.5}]


def test_how_long_a_run_took_is_kept_if_it_is_known(tmp_path):
    runs = FinishedRuns(tmp_path / "runs.jsonl", ABOUT)
    runs.keep({"seed": 1}, 0.5, seconds=12.34)
    runs.keep({"seed": 2}, 0.5)
    again = FinishedRuns(tmp_path / "runs.jsonl", ABOUT)
    assert again.seconds({"seed": 1}) == 12.3 and again.seconds({"seed": 2}) is None and again.kept({"seed": 2}) == 0.5


def test_an_interrupted_run_leaves_those_before_it(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    runs = FinishedRuns(tmp_path / "runs.jsonl", ABOUT)
    runs.result({"seed": 0}, lambda: "done")
    before = (tmp_path / "runs.jsonl").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        runs.result({"seed": 1}, interrupted)
    assert (tmp_path / "runs.jsonl").read_bytes() == before
    assert runs.result({"seed": 1}, lambda: "done now") == "done now"


def test_the_runs_of_another_experiment_are_refused(tmp_path):
    FinishedRuns(tmp_path / "runs.jsonl", ABOUT).result({"seed": 0}, lambda: 1)
    message = r"runs\.jsonl holds the runs of another experiment; these differ: seeds, steps"
    with pytest.raises(ValueError, match=message):
        FinishedRuns(tmp_path / "runs.jsonl", ABOUT | {"seeds": (0, 2), "steps": 5})


BAD = ["", "no JSON\n", "[]\n", '{"task": "sums"}\n{"run": 1}\n', '{"task": 1}\n[2]\n', "{}\n{"]


@pytest.mark.parametrize("content", BAD)
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "runs.jsonl").write_text(content)
    with pytest.raises(ValueError, match=r"runs\.jsonl is not a file of finished runs, or it is damaged"):
        FinishedRuns(tmp_path / "runs.jsonl", ABOUT)
    assert (tmp_path / "runs.jsonl").read_text() == content
