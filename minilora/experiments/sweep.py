"""Many runs in parallel, each saved as it finishes: an interrupted sweep resumes from there."""

import hashlib
import platform
import time
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy
from tqdm import tqdm

import minilora
from minilora.experiments.finished_runs import FinishedRuns
from minilora.interop.opening import open_language_model
from minilora.models import weights_hash
from minilora.processes import end_with_parent
from minilora.training import lock_run_folder
from minilora.training.run_folder import remove_leftovers

TRIES_ALONE = 2  # for a run that was in progress when a process died


class Sweep:
    """Calls a function with many settings, and returns its results in their order.

        sweep = Sweep("runs/reproduce", executor)
        results = sweep(adapt_and_keep, [settings(seed) for seed in (0, 1, 2)], model="decoder")

    A run is identified by its function and its settings, so that experiments that need the same run share it. A
    function marked with `produces_file` is called as ``function(s, path)``, and what it writes there is kept too;
    `file_of` finds it. If a sweep has only one run, it is done in this process.

    Parameters
    ----------
    folder : str or Path
        Gets a file of finished runs for each function.
    executor : concurrent.futures.Executor, optional
        Any executor. With `Processes`, the work of a process that died is taken up again. Without one, the runs are
        done one after another in this process.
    progress : bool
        Show a progress bar.

    Attributes
    ----------
    took : dict of (str, str) to float
        The seconds of each run that was asked for, saved ones included, by its function's name and its settings.
        None for one that an earlier version saved.
    """

    def __init__(self, folder, executor=None, *, progress=True):
        self.folder = Path(folder)
        self.executor = executor
        self.progress = progress
        self.took = {}

    def __call__(self, function, settings, *, model):
        """The result of ``function(s)`` for each s of `settings`.

        Parameters
        ----------
        function : callable
            Defined at the top of its module, so that another process can find it; returns something for JSON.
        settings : list of dataclass
            Made of numbers, text and tuples: everything that a result depends on.
        model : str
            The model that the function uses, see `open_language_model`; a result depends on it as well.

        Raises
        ------
        ValueError
            If the folder has runs of another version of Python, NumPy or minilora, or of another model; or if another
            sweep of the same function is running in it.
        RuntimeError
            If a run was in progress when a process died, and its process died twice more when it ran alone. The
            results of all other runs are kept.
        """
        name = function.__name__
        keys = {repr(s): s for s in settings}  # a dataclass's repr says its type and all its fields; each run once
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        with lock_run_folder(self.folder / name):  # of two sweeps in one folder, each would lose the other's runs
            finished = FinishedRuns(self.folder / f"{name}.jsonl", environment(model))
            missing = [s for key, s in keys.items() if not (finished.has(key) and self._has_file(function, s))]
            with tqdm(total=len(missing), desc=name, unit="run", disable=not (self.progress and missing)) as bar:
                for s, (result, seconds) in self._results(function, missing):
                    finished.keep(repr(s), result, seconds)
                    bar.update()
        self.took |= {(name, key): finished.seconds(key) for key in keys}
        return [finished.kept(key) for key in map(repr, settings)]

    def file_of(self, function, s):
        """The path of the file that the run of `function` with the settings `s` leaves."""
        name = hashlib.sha256(repr(s).encode()).hexdigest()[:16]
        return self.folder / function.__name__ / f"{name}{function.suffix}"

    def _has_file(self, function, s):
        return not hasattr(function, "suffix") or self.file_of(function, s).exists()

    def _arguments(self, function, s):
        return (s, self.file_of(function, s)) if hasattr(function, "suffix") else (s,)

    def _results(self, function, settings):
        """(s, what `timed` returns of it) for each s, in the order in which they finish."""
        if self.executor is None or len(settings) == 1:
            yield from ((s, timed(function, *self._arguments(function, s))) for s in settings)
            return
        left, doubtful = list(settings), []
        while left:
            yield from self._results_until_a_death(function, left)
            if left:  # runs begin in the order of the list, so that the first n of those left were at work
                doubtful += left[: self.executor.n]
                del left[: self.executor.n]
                self.executor.renew()
        fatal = []
        for s in doubtful:
            done = yield from self._alone(function, s)
            fatal += [] if done else [repr(s)]
        if fatal:
            raise RuntimeError(
                f"the process that did it died, {1 + TRIES_ALONE} times (killed, or out of memory?): {'; '.join(fatal)}"
            )

    def _alone(self, function, s):
        """Repeat alone a run that was in progress when a process died; returns whether it succeeded."""
        for _ in range(TRIES_ALONE):
            left = [s]
            yield from self._results_until_a_death(function, left)
            if not left:
                return True
            self.executor.renew()
        return False

    def _results_until_a_death(self, function, left):
        """Yield (s, what `timed` returns of it) for each s in the list `left`, and remove it, until a process dies.

        An executor other than `Processes` cannot be renewed, and a BrokenProcessPool is raised.
        """
        death = [BrokenProcessPool] if isinstance(self.executor, Processes) else []
        futures = {}
        try:
            with suppress(*death):
                for s in left:
                    futures[self.executor.submit(timed, function, *self._arguments(function, s))] = s
            for future in as_completed(futures):
                with suppress(*death):
                    result = future.result()
                    left.remove(futures[future])
                    yield futures[future], result
        finally:  # after an error, or Ctrl-C, no further run begins
            for future in futures:
                future.cancel()


def timed(function, *arguments):
    """What a function returns, and the seconds that it took."""
    started = time.perf_counter()
    return function(*arguments), time.perf_counter() - started


def produces_file(suffix):
    """Mark a function that a `Sweep` calls with a path as well: it writes a file there, with this suffix."""

    def mark(function):
        function.suffix = suffix
        return function

    return mark


def environment(model):
    """What a result depends on besides its settings, as a dict for JSON: versions, and the model's weights."""
    return {
        "minilora": minilora.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "model": Path(model).name,  # wherever it lies
        "model_id": weights_hash(open_language_model(model).model),
    }


class Processes(Executor):
    """An executor of n new processes; they share no threads and no memory with this one.

    They end with this process, even when it is killed. If one of them dies, all of them stop: what was submitted and is
    not done raises a BrokenProcessPool. Call `renew` to continue.
    """

    def __init__(self, n):
        self.n = n
        self.renew()

    def renew(self):
        """Replace the processes by n new ones."""
        self._pool = ProcessPoolExecutor(self.n, mp_context=get_context("spawn"), initializer=end_with_parent)

    def submit(self, function, /, *args, **kwargs):
        return self._pool.submit(function, *args, **kwargs)

    def shutdown(self, wait=True, *, cancel_futures=False):
        self._pool.shutdown(wait, cancel_futures=cancel_futures)
