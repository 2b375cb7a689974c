"""Jobs of 1, 2 and 4 ranks, started with mpiexec: they train as one process does, and end together."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from minilora.arrays.threads import cores
from minilora.distributed import SINGLE_PROCESS
from mpi import job as job_file
from mpi.launch import JOB, MINILORA, job, needs_mpi, reports, run, start, start_mixed
from watching import is_running, wait_until

pytestmark = needs_mpi


@pytest.fixture(scope="module")
def whole():
    """The run of one process, by dtype."""
    return {dtype: job_file.train(SINGLE_PROCESS, {"dtype": dtype}) for dtype in ("float32", "float64")}


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
def test_losses_are_those_of_one_process_and_ranks_equal_to_the_bit(n, dtype, tolerance, whole, tmp_path):
    status, error, ranks = job(n, tmp_path, dtype=dtype)
    assert (status, error, len(ranks)) == (0, "", n)
    for name in ("losses", "validation"):
        assert np.abs(np.subtract(ranks[0][name], whole[dtype][name])).max() < tolerance
    assert all(rank[name] == ranks[0][name] for rank in ranks for name in ("losses", "validation", "weights"))
    sent = [] if n == 1 else [ranks[0]["bucket"]] * 5
    assert all(rank["bytes"] == sent for rank in ranks), "one bucket a step"


def test_the_cores_of_a_machine_are_shared_among_its_ranks(tmp_path):
    _, _, ranks = job(2, tmp_path)
    assert ranks[0]["cores"] == [max(1, cores() // 2)] * 2


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_raises_ends_the_job_with_its_error_said_once(rank, tmp_path):
    status, error, done = job(3, tmp_path, at=2, rank=rank, does="raise")
    assert status != 0 and not done
    assert error.count("OSError: the disk of this rank is gone") == 1
    assert ("rank 1 of 3: Traceback" in error) == (rank == 1)


def test_a_nan_is_said_once(tmp_path):
    status, error, done = job(3, tmp_path, at=2, does="nan")
    assert status != 0 and not done
    assert error.count("the loss became nan at step 3") == 1


def test_ranks_with_other_weights_are_refused(tmp_path):
    status, error, done = job(3, tmp_path, seed_of_rank=2)
    assert status != 0 and not done
    assert error.count("rank 2 differs from rank 0 in its weights, at step 0") == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_ends_the_job_and_the_run_continues_to_the_same_bits(rank, tmp_path):
    folder = str(tmp_path / "run")
    status, said, done = job(2, tmp_path / "killed", folder=folder, at=3, rank=rank, does="die")
    assert status != 0 and not done
    assert "signal 9" in said, "by mpiexec: who is killed says nothing"
    _, _, continued = job(2, tmp_path / "continued", folder=folder)
    _, _, never_stopped = job(2, tmp_path / "never stopped")
    assert [rank["begun"] for rank in continued] == [3, 3]
    assert [{**rank, "begun": 0, "bytes": []} for rank in continued] == [{**r, "bytes": []} for r in never_stopped]


def test_ctrl_c_stops_all_ranks_after_the_same_step_and_any_number_of_ranks_continues(tmp_path, whole):
    folder = str(tmp_path / "run")
    options = json.dumps({"out": str(tmp_path), "folder": folder, "at": 2, "does": "wait"})
    with start(2, *JOB, options) as stopping:
        assert stopping.stdout.readline() == "waiting\n"
        stopping.send_signal(signal.SIGINT)
        stopping.communicate(timeout=60)
    assert [rank["stopped"] for rank in reports(tmp_path)] == [3, 3]
    (tmp_path / "all").mkdir()
    status, _, ranks = job(4, tmp_path / "all", folder=folder)
    assert status == 0 and [rank["begun"] for rank in ranks] == [3] * 4
    assert np.abs(np.subtract(ranks[0]["losses"], whole["float64"]["losses"])).max() < 1e-12


def test_a_sweeps_runs_are_done_by_the_other_ranks(tmp_path):
    status, said, ranks = job(3, tmp_path, runs=str(tmp_path / "runs"), trap="none")
    assert (status, said) == (0, "")
    assert ranks[0] == {"squares": [0, 1, 4, 9, 16, 25], "here": False} and ranks[1:] == [None, None]


def test_a_sweep_of_which_a_rank_has_died_goes_on_when_it_is_started_again(tmp_path):
    trap = tmp_path / "trap"
    trap.touch()
    options = {"runs": str(tmp_path / "runs"), "trap": str(trap)}
    status, said, ranks = job(3, tmp_path, **options)
    assert status != 0 and "signal 9" in said and not ranks, "MPI ends the job"
    status, said, ranks = job(3, tmp_path, **options)
    assert (status, said) == (0, "") and ranks[0]["squares"] == [0, 1, 4, 9, 16, 25]


# ---- the command line


def table(folder):
    """A task of classes, small enough to be measured in a moment."""
    rows = [{"text": f"{'ab'[n % 2]}{n}", "label": "even" if n % 2 else "odd"} for n in range(60)]
    path = folder / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_finetune_needs_nothing_but_mpiexec(tmp_path):
    command = ["finetune", "--task", table(tmp_path), "--steps", "3", "--threads", "1", "--device", "cpu", "--out"]
    results = {}
    for n in (1, 2):
        status, out, error = run(n, *MINILORA, *command, tmp_path / str(n))
        assert status == 0, error
        assert out.count("parameters trained") == 1 and error.count("3/3") <= 2
        results[n] = json.loads((tmp_path / str(n) / "result.json").read_text())
        results[n]["losses"] = json.loads((tmp_path / str(n) / "history.json").read_text())["losses"]
    assert results[1]["losses"] == pytest.approx(results[2]["losses"], rel=1e-6)
    assert results[2]["ranks"] == 2 and results[2]["bytes_per_step"] == 4 * (results[2]["trainable"] + 3)
    assert results[2]["command"].startswith("mpiexec -n 2 minilora finetune") and "ranks" not in results[1]
    status, out, _ = run(2, *MINILORA, *command, tmp_path / "2")
    assert status == 0 and "already holds this run, finished" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("count gpt2", "3 ranks were started, but only pretrain, finetune, reproduce can be shared by several"),
        ("finetune --batch-size 2 --out {out}", "batch-size was 2, for 3 ranks"),
        ("reproduce table4 --quick --out {out}", "--executor was process, but 3 ranks were started"),
        ("reproduce table4 --executor mpi --workers 2", "--workers was given, but --executor mpi does not use it"),
        ("finetune --nonsense", "unrecognized arguments: --nonsense"),
    ],
)
def test_what_cannot_be_is_refused_once(arguments, said, tmp_path):
    status, out, error = run(3, *MINILORA, *arguments.format(out=tmp_path).split())
    assert status == 2 and not out
    assert error.count(said) == 1


# ---- ranks that do not come, or leave

IMPATIENT = (  # the command line, whose ranks wait three seconds for others to start, and one for one that has left
    "import sys, minilora.distributed as d; d.JOINING, d.PATIENCE = 3.0, 1.0\n"
    "from minilora.cli import main; sys.exit(main(sys.argv[1:]))"
)


def mixed(tmp_path, first, second):
    """A job of two ranks with a command each: (exit status, standard output, standard error)."""
    with start_mixed(first, second) as job:
        try:
            out, error = job.communicate(timeout=60)
        finally:
            job.kill()
    return job.returncode, out, error


@pytest.mark.parametrize("order", [1, -1])
def test_a_rank_that_only_prints_its_help_does_not_leave_the_other_waiting(order, tmp_path):
    trains = [sys.executable, "-c", IMPATIENT, "finetune", "--task", table(tmp_path), "--steps", "2", "--threads", "1"]
    helps = [sys.executable, "-c", IMPATIENT, "finetune", "--help"]
    commands = [[*trains, "--out", str(tmp_path / "run")], helps]
    status, _, error = mixed(tmp_path, *commands[::order])
    assert status != 0 and not (tmp_path / "run" / "result.json").exists()
    left = {1: 1, -1: 0}[order]
    assert f"rank {left} of 2 has ended, and the others wait for it in vain" in error


@pytest.mark.parametrize("other", ["true", "false"])
def test_a_rank_that_never_joins_does_not_leave_the_other_spinning(other, tmp_path):
    trains = [sys.executable, "-c", IMPATIENT, "finetune", "--task", table(tmp_path), "--out", str(tmp_path / "run")]
    status, _, error = mixed(tmp_path, trains, [other])
    assert status != 0
    assert "not all processes that the launcher started have joined the job within 3 seconds" in error


def test_ranks_whose_launcher_is_killed_before_they_have_joined_end(tmp_path):
    says = "import os; print(os.getpid(), flush=True)\n" + IMPATIENT.replace("3.0", "1000.0")
    trains = [sys.executable, "-c", says, "finetune", "--task", table(tmp_path), "--out", str(tmp_path / "run")]
    with start_mixed(trains, ["sleep", "30"]) as job:
        rank = int(job.stdout.readline())
        job.kill()
    assert wait_until(lambda: not is_running(rank), 20)


def test_a_launcher_of_another_mpi_is_noticed(tmp_path):
    """Open MPI's mpiexec says to each of its processes that there are four; MPICH's library knows nothing of it."""
    for rank in (0, 1):
        told = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": str(rank)}
        command = [*MINILORA, "finetune", "--out", str(tmp_path / "run")]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | told, timeout=60)
        assert done.returncode == 2 and not done.stdout and not (tmp_path / "run").exists()
        assert ("counts 1: the launcher is another MPI's" in done.stderr) == (rank == 0)
