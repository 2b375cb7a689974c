"""Standard output and error that are closed or full, in real shells: no traceback, and nothing ends without a word."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import minilora
from experiments.tiny import byte_gpt, csv_text, sums

ROOT = Path(__file__).resolve().parents[2]
MINILORA = f"{shlex.quote(sys.executable)} -m minilora"
TRAIN = "finetune --model model.safetensors --task sums.csv --steps 4 --batch-size 2 --threads 1 --out run"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell's redirections")
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")


@pytest.fixture
def shell(tmp_path):
    """``shell(command)`` gives the status, the output and the errors of a shell's command."""
    minilora.save_model(byte_gpt(), tmp_path / "model.safetensors")
    (tmp_path / "sums.csv").write_text(csv_text(sums()))

    def run(command):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize("command", ["count list", "--help", "count --help", "--version"])
def test_a_closed_output_is_no_error(command, shell):
    assert shell(f"{MINILORA} {command} >&-") == (0, "", "")


@needs_full
@pytest.mark.parametrize("command", ["count list", "--help", "count --help", "--version"])
def test_a_full_output_is_an_error_in_one_line(command, shell):
    status, _, said = shell(f"{MINILORA} {command} >/dev/full")
    assert status == 2 and said == "minilora: standard output: No space left on device\n"


@needs_full
def test_a_full_output_and_a_full_error_are_a_status(shell):
    assert shell(f"{MINILORA} count list >/dev/full 2>/dev/full")[0] == 2


@pytest.mark.parametrize("error", ["2>&-", pytest.param("2>/dev/full", marks=needs_full)])
def test_a_run_trains_on_without_its_progress_bar(error, shell, tmp_path):
    status, said, _ = shell(f"{MINILORA} {TRAIN} {error}")
    assert status == 0 and "parameters trained" in said
    assert (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("streams", [">&- 2>&-", "<&- >&- 2>&-"])
def test_with_all_streams_closed_a_run_is_whole_and_no_file_has_what_was_printed(streams, shell, tmp_path):
    assert shell(f"{MINILORA} {TRAIN} {streams}")[0] == 0
    minilora.load_adapter(minilora.load_model(tmp_path / "model.safetensors"), tmp_path / "run" / "adapter.safetensors")
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {"adapter.safetensors", "config.json", "history.json", "result.json"}


@pytest.mark.parametrize("error", ["2>&-", pytest.param("2>/dev/full", marks=needs_full)])
def test_an_error_that_cannot_be_said_is_still_a_status(error, shell):
    assert shell(f"{MINILORA} finetune --model nothing.safetensors {error}")[0] == 2


def test_who_reads_the_output_may_stop_reading(shell):
    status, out, said = shell(f"{{ {MINILORA} count list; echo $? >&2; }} | head -1")
    assert status == 0 and out.count("\n") == 1 and said in ("0\n", "141\n")
