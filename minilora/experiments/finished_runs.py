"""The runs of a long experiment, saved one by one, so that an interruption costs one run and not all."""

import json
from pathlib import Path

from minilora.files import write_atomically
from minilora.limits import one_line_errors


class FinishedRuns:
    """The results of an experiment's finished runs, one line of JSON each, from which an interrupted one resumes.

    Parameters
    ----------
    path : str or Path
        A ``.jsonl`` file. Its first line is `about`, each further one the key and the result of a run, and the seconds
        that it took, if they are known.
    about : dict
        What all runs have in common, for JSON.

    Raises
    ------
    ValueError
        If the file exists and says something else about its runs, or is not such a file.
    """

    @one_line_errors()
    def __init__(self, path, about):
        self.path = Path(path)
        self.lines = [as_json(about)]
        if self.path.exists():
            self.lines = self._read(self.lines[0])

    def result(self, key, compute):
        """The result of a run: the saved one if there is one, else ``compute()``, which is then saved.

        Parameters
        ----------
        key : dict or str
            What makes it this run.
        compute : callable
            Takes nothing, and returns something for JSON.
        """
        if not self.has(key):
            self.keep(key, compute())
        return self.kept(key)

    def has(self, key):
        """Whether the result of a run is saved."""
        return any(line["run"] == as_json(key) for line in self.lines[1:])

    def kept(self, key):
        """The saved result of a run."""
        return next(line["result"] for line in self.lines[1:] if line["run"] == as_json(key))

    def seconds(self, key):
        """How long a saved run took; None if that was not saved."""
        return next(line.get("seconds") for line in self.lines[1:] if line["run"] == as_json(key))

    def keep(self, key, result, seconds=None):
        """Save the result of a run, in place of an earlier one."""
        about, *runs = self.lines
        others = [line for line in runs if line["run"] != as_json(key)]
        took = {} if seconds is None else {"seconds": round(seconds, 1)}
        self.lines = [about, *others, as_json({"run": key, "result": result, **took})]
        write_atomically(self.path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in self.lines))

    def _read(self, about):
        try:
            kept, *lines = [json.loads(line) for line in self.path.read_text().splitlines()]
            readable = isinstance(kept, dict) and all(line.keys() - {"seconds"} == {"run", "result"} for line in lines)
        except (ValueError, AttributeError, RecursionError):
            readable = False
        if not readable:
            raise ValueError(f"{self.path} is not a file of finished runs, or it is damaged")
        if kept != about:
            differing = sorted(name for name in kept.keys() | about.keys() if kept.get(name) != about.get(name))
            raise ValueError(f"{self.path} holds the runs of another experiment; these differ: {', '.join(differing)}")
        return [kept, *lines]


def as_json(content):
    """`content` as it will be read back from a file: JSON has no tuples, and NaN or infinity raises a ValueError."""
    return json.loads(json.dumps(content, allow_nan=False))
