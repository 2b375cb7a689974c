"""Renders a chat template: a script, which `chat_template` starts in a process of its own; it has no minilora.

A template comes with a model's files, so it is somebody's program. Jinja's sandbox keeps it from the insides of Python,
but not from looping for hours, nor from making a text of gigabytes; a process can be stopped. This one reads lines of
JSON, the template and its limits, then conversations, and answers each line with another.

What a template finds is what it finds in transformers: raise_exception, strftime_now, tojson, break and continue, and
the blocks {% generation %}, which change nothing here.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any


class Refused(Exception):
    """What raise_exception raises: the template does not take these messages."""


def environment() -> Any:
    """A sandbox with what chat templates rely on. Nothing is computed before rendering begins (optimized)."""
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} ... {% endgeneration %}: what stands between."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    made: Any = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols], optimized=False
    )
    made.filters["tojson"] = to_json  # Jinja's own is for HTML
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return made


def to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """The filter tojson."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def refuse(message: str) -> None:
    """The function with which a template refuses messages."""
    raise Refused(message)


def limit(seconds: float, memory: int) -> None:
    """Have this process killed after so much more processor time, and refused more memory, where the system can."""
    try:
        import resource
        import signal

        signal.setitimer(signal.ITIMER_PROF, seconds)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    except (ImportError, AttributeError, ValueError, OSError):
        pass  # the process that started this one still watches the clock


def render(template: Any, variables: dict[str, Any], messages: list, prompt: bool, most: int) -> str:
    """The text of some messages; ValueError if it has more than `most` characters."""
    pieces, length = [], 0
    for piece in template.generate(messages=messages, add_generation_prompt=prompt, **variables):
        pieces.append(piece)
        length += len(piece)
        if length > most:
            raise ValueError(f"it wrote more than {most:,} characters")
    return "".join(pieces)


def answers(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """An answer for each line: first for the template, then for each conversation.

    A conversation has messages, whether a prompt for the next answer follows them, and cuts: pairs of a number of its
    first messages, and whether a prompt follows these. Its answer has the whole text, and for each cut the length of
    its text, or -1 if the whole does not begin with that.
    """
    lines = iter(lines)
    task = json.loads(next(lines))
    limits, variables, most = (task["seconds"], task["memory"]), task["variables"], task["most"]
    limit(*limits)
    try:
        template = environment().from_string(task["template"])
    except (Exception, RecursionError) as error:
        yield {"error": f"{type(error).__name__}: {error}"}
        return
    yield {}
    for line in lines:
        asked = json.loads(line)
        messages = asked["messages"]
        try:
            limit(*limits)
            whole = render(template, variables, messages, asked["prompt"], most)
            lengths = []
            for n, prompt in asked["cuts"]:
                limit(*limits)
                text = render(template, variables, messages[:n], prompt, most)
                lengths.append(len(text) if whole.startswith(text) else -1)
        except MemoryError:
            yield {"error": f"it took more than {task['memory'] >> 20} MB"}
        except (Exception, RecursionError) as error:
            yield {"error": str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"}
        else:
            yield {"text": whole, "lengths": lengths}


def main() -> None:
    """Answer every line of standard input."""
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    for answer in answers(sys.stdin):
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
