"""A sweep does each run once, on any executor, and goes on where it was interrupted."""

import json
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

import pytest

from minilora.experiments.sweep import Processes, Sweep, produces_file
from minilora.training import lock_run_folder

calls = []


@dataclass(frozen=True)
class Settings:
    seed: int
    lr: float = 0.5


def square(settings):
    calls.append(settings)
    return {"square": settings.seed**2, "pair": (settings.seed, settings.lr)}


def square_but_not_of_two(settings):
    if settings.seed == 2:
        raise KeyboardInterrupt
    return square(settings)


@pytest.fixture(autouse=True)
def no_calls():
    calls.clear()


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(2)], ids=["here", "threads"])
def test_results_come_in_the_order_of_the_settings(tmp_path, executor):
    settings = [Settings(3), Settings(1), Settings(3), Settings(2)]
    results = Sweep(tmp_path, executor, progress=False)(square, settings, model="decoder")
    assert [r["square"] for r in results] == [9, 1, 9, 4]
    assert results[0]["pair"] == [3, 0.5], "as it is read from a file"
    assert len(calls) == 3, "the same run is done once"


def test_processes_do_the_runs(tmp_path):
    with Processes(2) as executor:
        results = Sweep(tmp_path, executor, progress=False)(square, [Settings(4), Settings(5)], model="decoder")
    assert [r["square"] for r in results] == [16, 25] and not calls


def slow(settings):
    time.sleep(0.1 * settings.seed)
    return settings.seed


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(2)], ids=["here", "threads"])
def test_a_sweep_knows_how_long_its_runs_took(tmp_path, executor):
    settings, known = [Settings(1), Settings(3)], []
    for sweep in (Sweep(tmp_path, executor, progress=False), Sweep(tmp_path, progress=False)):  # the second finds them
        assert sweep(slow, settings, model="decoder") == [1, 3]
        known.append([sweep.took["slow", repr(s)] for s in settings])
    assert len(sweep.took) == 2 and known[0] == known[1]
    assert 0.1 <= known[0][0] and 0.3 <= known[0][1] < 60


def test_a_run_that_an_earlier_version_saved_took_nobody_knows_how_long(tmp_path):
    Sweep(tmp_path, progress=False)(square, [Settings(1)], model="decoder")
    path = tmp_path / "square.jsonl"
    about, run = map(json.loads, path.read_text().splitlines())
    del run["seconds"]
    path.write_text(f"{json.dumps(about)}\n{json.dumps(run)}\n")
    sweep = Sweep(tmp_path, progress=False)
    sweep(square, [Settings(1)], model="decoder")
    assert list(sweep.took.values()) == [None]


def test_a_finished_run_is_not_done_again(tmp_path):
    first = Sweep(tmp_path, progress=False)(square, [Settings(1), Settings(2)], model="decoder")
    again = Sweep(tmp_path, progress=False)(square, [Settings(2), Settings(1), Settings(7)], model="decoder")
    assert again[:2] == first[::-1] and calls == [Settings(1), Settings(2), Settings(7)]


def test_an_interruption_costs_one_run(tmp_path):
    settings = [Settings(seed) for seed in range(4)]
    with pytest.raises(KeyboardInterrupt):
        Sweep(tmp_path, progress=False)(square_but_not_of_two, settings, model="decoder")
    kept = (tmp_path / "square_but_not_of_two.jsonl").read_text().splitlines()
    assert [json.loads(line)["result"]["square"] for line in kept[1:]] == [0, 1]


@pytest.mark.parametrize("field", ["minilora", "python", "numpy", "model_id"])
def test_the_runs_of_another_version_are_refused(tmp_path, field):
    Sweep(tmp_path, progress=False)(square, [Settings(1)], model="decoder")
    path = tmp_path / "square.jsonl"
    about, *runs = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(about) | {field: "another"}), *runs]) + "\n")
    with pytest.raises(ValueError, match=rf"square\.jsonl holds the runs of another experiment; these differ: {field}"):
        Sweep(tmp_path, progress=False)(square, [Settings(1)], model="decoder")


@produces_file(".txt")
def square_in_a_file(settings, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(settings.seed**2))
    return square(settings)


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(2)], ids=["here", "threads"])
def test_a_file_is_kept_beside_its_run(tmp_path, executor):
    sweep, settings = Sweep(tmp_path, executor, progress=False), [Settings(3), Settings(4)]
    sweep(square_in_a_file, settings, model="decoder")
    assert [sweep.file_of(square_in_a_file, s).read_text() for s in settings] == ["9", "16"]
    sweep.file_of(square_in_a_file, settings[0]).unlink()
    again = sweep(square_in_a_file, settings, model="decoder")
    assert [r["square"] for r in again] == [9, 16] and len(calls) == 3, "one run, for the file that was gone"
    assert sweep.file_of(square_in_a_file, settings[0]).exists()
    assert len((tmp_path / "square_in_a_file.jsonl").read_text().splitlines()) == 3, "a run has one line"


def test_the_only_run_is_done_here(tmp_path):
    with Processes(2) as executor:
        Sweep(tmp_path, executor, progress=False)(square, [Settings(4)], model="decoder")
    assert calls == [Settings(4)]


def test_two_sweeps_of_one_function_do_not_share_a_folder(tmp_path):
    with lock_run_folder(tmp_path / "square"), pytest.raises(ValueError, match="another run is writing to .*square"):
        Sweep(tmp_path, progress=False)(square, [Settings(1)], model="decoder")
    assert not calls and Sweep(tmp_path, progress=False)(square, [Settings(1)], model="decoder")[0]["square"] == 1


# ---- processes that die


def die_now_and_then(settings, path):
    """The first time that it is done, the process dies; a negative seed kills every time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if settings.seed < 0 or (settings.seed % 2 and not path.exists()):
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    path.touch()
    return {"square": settings.seed**2}


die_now_and_then.suffix = ".txt"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_what_a_process_that_died_was_doing_is_done_again(tmp_path):
    settings = [Settings(seed) for seed in range(4)]
    with Processes(2) as executor:
        results = Sweep(tmp_path, executor, progress=False)(die_now_and_then, settings, model="decoder")
    assert [r["square"] for r in results] == [0, 1, 4, 9]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_run_that_kills_its_process_each_time_is_named_and_the_others_are_kept(tmp_path):
    settings = [Settings(-1), Settings(0), Settings(2), Settings(4)]
    with Processes(2) as executor, pytest.raises(RuntimeError) as caught:
        Sweep(tmp_path, executor, progress=False)(die_now_and_then, settings, model="decoder")
    assert str(caught.value) == (
        "the process that did it died, 3 times (killed, or out of memory?): Settings(seed=-1, lr=0.5)"
    )
    kept = (tmp_path / "die_now_and_then.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["result"]["square"] for line in kept[1:]) == [0, 4, 16]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_another_executor_s_broken_pool_is_an_error(tmp_path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor, pytest.raises(BrokenProcessPool):
        Sweep(tmp_path, executor, progress=False)(die_now_and_then, [Settings(-1), Settings(-3)], model="decoder")
