"""Ctrl-C, a full disk, damage and a second run: the state that was saved stays, and says how to go on."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from methods.tiny import same_bits, tiny_lora, weights_of
from minilora.files import load_arrays
from minilora.training import Stopped, lock_run_folder, resume_newest, run_folder
from minilora.training.checkpoint import CHECKPOINT, PREVIOUS
from training.runs import draw, run, trainer


def step_in(path):
    return load_arrays(path, "run")[1]["step"]


def continued(folder, **settings):
    """A new Trainer that went on with what is in a folder, and finished."""
    made = trainer(tiny_lora(), folder=folder, checkpoint_every=2, **settings)
    resume_newest(made, folder)
    made.run(progress=False)
    return made


def is_as_if_nothing_had_happened(made):
    whole = run(tiny_lora())
    return same_bits(weights_of(made.model), weights_of(whole.model)) and made.history.losses == whole.history.losses


# ---- Ctrl-C


@pytest.fixture(autouse=True)
def ctrl_c_interrupts():
    """As in a terminal; a job that a shell runs in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def stop_in_step(n, presses=1):
    """A sample_batch in whose n-th call Ctrl-C is pressed."""
    calls = iter(range(1, 100))

    def sample_batch(rng):
        if next(calls) == n:
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)
        return draw(rng)

    return sample_batch


def test_ctrl_c_finishes_the_step_saves_it_and_says_where(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match=rf"stopped after step 3 of 7, which is saved in .*{CHECKPOINT}"):
        run(tiny_lora(), sample_batch=stop_in_step(3), folder=tmp_path, checkpoint_every=2)
    assert step_in(tmp_path / CHECKPOINT) == 3 and step_in(tmp_path / PREVIOUS) == 2
    assert signal.getsignal(signal.SIGINT) is before
    assert is_as_if_nothing_had_happened(continued(tmp_path))


def test_where_ctrl_c_is_ignored_it_stays_ignored(tmp_path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run(tiny_lora(), sample_batch=stop_in_step(3), folder=tmp_path, checkpoint_every=2)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN and step_in(tmp_path / CHECKPOINT) == 6


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    with pytest.raises(KeyboardInterrupt) as stop:
        run(tiny_lora(), sample_batch=stop_in_step(4, presses=2), folder=tmp_path, checkpoint_every=2)
    assert not isinstance(stop.value, Stopped) and step_in(tmp_path / CHECKPOINT) == 2
    assert is_as_if_nothing_had_happened(continued(tmp_path))


def test_without_checkpoints_ctrl_c_stops_at_once(tmp_path):
    with pytest.raises(KeyboardInterrupt) as stop:
        run(tiny_lora(), sample_batch=stop_in_step(3))
    assert not isinstance(stop.value, Stopped)


def test_a_run_outside_of_the_main_thread_saves_too(tmp_path):
    thread = threading.Thread(target=run, args=(tiny_lora(),), kwargs={"folder": tmp_path, "checkpoint_every": 2})
    thread.start()
    thread.join()
    assert step_in(tmp_path / CHECKPOINT) == 6


# ---- what fails while a checkpoint is written


class Crash(BaseException):
    """The process is gone: nothing of minilora catches this."""


@pytest.mark.parametrize("name", ["replace", "fsync"])
@pytest.mark.parametrize("call", range(1, 9))
def test_a_crash_at_any_call_while_saving_loses_at_most_what_was_not_saved(name, call, tmp_path, monkeypatch):
    real, calls = getattr(os, name), iter(range(1, 100))

    def failing(*arguments):
        if next(calls) == call:
            raise Crash
        return real(*arguments)

    monkeypatch.setattr(os, name, failing)
    with contextlib.suppress(Crash):
        run(tiny_lora(), folder=tmp_path, checkpoint_every=2)
    monkeypatch.undo()
    assert is_as_if_nothing_had_happened(continued(tmp_path))


def test_a_full_disk_is_an_error_that_names_the_file_and_the_checkpoint_stays(tmp_path, monkeypatch):
    run(tiny_lora(), steps=7, folder=tmp_path, checkpoint_every=2, sample_batch=draw)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device.*config.json") as error:
        run(tiny_lora(), folder=tmp_path, checkpoint_every=2)
    assert "None" not in str(error.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_error_before_the_first_step(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=tmp_path.name):
        run(tiny_lora(), folder=tmp_path, checkpoint_every=2, sample_batch=None)


# ---- damage


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, lambda path: path.write_bytes(b"")])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it_with_a_warning(damage, tmp_path):
    run(tiny_lora(), folder=tmp_path, checkpoint_every=2)
    damage(tmp_path / CHECKPOINT)
    with pytest.warns(UserWarning, match=f"{CHECKPOINT} is .*damaged.*; continuing from the checkpoint before it"):
        made = continued(tmp_path)
    assert is_as_if_nothing_had_happened(made)


def test_a_missing_checkpoint_gives_way_to_the_one_before_it(tmp_path):
    run(tiny_lora(), folder=tmp_path, checkpoint_every=2)
    (tmp_path / CHECKPOINT).unlink()
    made = trainer(tiny_lora())
    assert resume_newest(made, tmp_path) == tmp_path / PREVIOUS and made.step == 4


def test_if_both_are_damaged_the_run_does_not_begin_anew_in_silence(tmp_path):
    run(tiny_lora(), folder=tmp_path, checkpoint_every=2)
    for name in (CHECKPOINT, PREVIOUS):
        flip_a_bit(tmp_path / name)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match=f"{PREVIOUS} is damaged"):
        resume_newest(trainer(tiny_lora()), tmp_path)


def test_an_empty_folder_has_nothing_to_continue(tmp_path):
    assert resume_newest(trainer(tiny_lora()), tmp_path) is None


# ---- a second run


def test_a_second_run_in_the_folder_is_refused_and_changes_nothing(tmp_path):
    run(tiny_lora(), folder=tmp_path, checkpoint_every=2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with lock_run_folder(tmp_path), pytest.raises(ValueError, match=f"another run is writing to {tmp_path}"):
        run(tiny_lora(), folder=tmp_path, seed=5)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_process_is_refused_too_and_a_killed_one_holds_nothing(tmp_path):
    program = (
        "import sys, time; from minilora.training import lock_run_folder\n"
        "with lock_run_folder(sys.argv[1]): print('in', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "in\n"
        with pytest.raises(ValueError, match="another run"), lock_run_folder(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with lock_run_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


# ---- what killed runs leave, and what is no lock


def dead_process():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_temporary_files_of_killed_runs_are_removed_at_the_next_start_and_no_others(tmp_path):
    dead, alive = dead_process(), os.getppid()
    kept = {f".checkpoint.safetensors.{alive}", ".notes", "adapter.safetensors", f"mine.json.{dead}", f".vimrc.{dead}"}
    gone = {
        f".checkpoint.safetensors.{dead}",
        f".result.json.{dead}",
        f".result.json.{os.getpid()}",
        ".a.json.99999999999",
    }
    for name in kept | gone:
        (tmp_path / name).write_text("")
    with lock_run_folder(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == kept | {run_folder.LOCK}


def test_a_real_run_that_is_killed_while_it_writes_leaves_nothing_after_the_next(tmp_path):
    program = (
        "import sys, os, signal; sys.path[:0] = sys.argv[2:]\n"
        "real = os.fsync\n"
        "def fsync(descriptor):\n"
        "    if 'checkpoint' in os.readlink(f'/proc/self/fd/{descriptor}'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    real(descriptor)\n"
        "os.fsync = fsync\n"
        "from methods.tiny import tiny_lora; from training.runs import run\n"
        "run(tiny_lora(), folder=sys.argv[1], checkpoint_every=2)\n"
    )
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("the system does not say which file a descriptor is")
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", program, str(tmp_path), str(tests), str(tests.parent)]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".checkpoint")], "else it says nothing"
    assert is_as_if_nothing_had_happened(continued(tmp_path))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(os.name != "posix", reason="symbolic links need a right on Windows")
@pytest.mark.parametrize("exists", [False, True])
def test_a_lock_that_is_a_symbolic_link_is_not_followed(exists, tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "run"
    folder.mkdir()
    (folder / run_folder.LOCK).symlink_to(elsewhere)
    if exists:
        elsewhere.write_text("mine")
    with pytest.raises(OSError, match=r"\.lock is a symbolic link; it must be a file"), lock_run_folder(folder):
        pass
    assert (elsewhere.read_text() == "mine") if exists else not elsewhere.exists()
    assert (folder / run_folder.LOCK).is_symlink()


def test_a_lock_that_was_replaced_is_noticed_and_the_other_one_stays(tmp_path):
    with lock_run_folder(tmp_path) as lock:
        lock.check()
        (tmp_path / run_folder.LOCK).unlink()
        (tmp_path / run_folder.LOCK).write_text("of another run")
        with pytest.raises(FileNotFoundError, match="was removed or replaced while a run was writing to it"):
            lock.check()
    assert (tmp_path / run_folder.LOCK).read_text() == "of another run"


class Msvcrt:
    """Windows's locks, as its documentation has them: a byte of a file, which one open file at a time has locked."""

    LK_NBLCK, LK_UNLCK = "lock", "unlock"

    def __init__(self):
        self.locked = {}

    def locking(self, descriptor, mode, nbytes):
        about = os.fstat(descriptor)
        where = (about.st_ino, os.lseek(descriptor, 0, os.SEEK_CUR), nbytes)
        if (mode == self.LK_NBLCK) == (where in self.locked):
            raise PermissionError(13, "Permission denied")
        if mode == self.LK_NBLCK:
            self.locked[where] = descriptor
        else:
            del self.locked[where]


def refuse_to_remove(path, missing_ok=False):
    """As Windows does while a file is open."""
    raise PermissionError(13, "Permission denied")


def test_windows_locks_the_first_byte_and_lets_go_of_it(tmp_path, monkeypatch):
    system = Msvcrt()
    monkeypatch.setattr(run_folder, "fcntl", None)
    monkeypatch.setattr(run_folder, "msvcrt", system, raising=False)
    monkeypatch.setattr(Path, "unlink", refuse_to_remove)
    for _ in range(2):
        with lock_run_folder(tmp_path):
            assert [(position, nbytes) for _, position, nbytes in system.locked] == [(0, 1)]
            with pytest.raises(ValueError, match="another run"), lock_run_folder(tmp_path):
                pass
        assert not system.locked and (tmp_path / run_folder.LOCK).exists()
