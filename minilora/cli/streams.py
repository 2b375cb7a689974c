"""Standard output and error that are closed or full: no traceback, and a run continues without its progress bar."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """A context in which printing never fails, unless the reader of the output has gone away (BrokenPipeError).

    - A stream that was closed (``>&-``) becomes the null device. Its number is taken too, because the next file that is
      opened would get that number, and with it whatever is printed.
    - What cannot be written to standard error is dropped: there is nowhere left to report it, and a progress bar is no
      reason to stop a run. What cannot be written to standard output is dropped too, and `flush_output` reports it.
    """
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _null(number))
    output, error = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Lenient(output, BrokenPipeError), Lenient(error)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = output, error
        for stream in (output, error):
            _drop_unwritten(stream)


def flush_output(status: int) -> int:
    """Write what a command has printed; return its exit status, which is `status` unless that fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        return 141  # like a program that SIGPIPE has ended
    if error := getattr(sys.stdout, "error", None):
        print(f"minilora: standard output: {error.strerror}", file=sys.stderr)
        return status or 2
    return status


def _drop_unwritten(stream: io.TextIOBase) -> None:
    """Flush a stream; if that fails, redirect it to the null device, because Python flushes once more at exit."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Lenient(io.TextIOBase):
    """A stream to which writing never fails: what cannot be written is dropped, and `error` is the reason.

    Parameters
    ----------
    stream : file object
        Where the output goes.
    *raised : exception class
        Errors that are raised all the same.
    """

    def __init__(self, stream: io.TextIOBase, *raised: type[OSError]) -> None:
        self._stream, self._raised = stream, raised
        self.error: OSError | None = None

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._dropping():
            self._stream.flush()

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except self._raised:
            raise
        except OSError as error:
            self.error = error

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # TextIOBase has one of its own, None
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # here too; input() edits lines only if it knows both
        return self._stream.errors


def _null(number: int) -> io.TextIOBase:
    """The null device, with the file number of a stream that was closed."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    return open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)
