"""Chat templates: how a model wants the messages of a conversation written down.

A model that was tuned on conversations read them in a certain form, with control tokens that say who speaks:

    <|im_start|>user
    Hello!<|im_end|>
    <|im_start|>assistant
    Good morning.<|im_end|>

The form is a template in Jinja, which comes with the model. It is untrusted: it is rendered in a sandbox, in a process
of its own, with limits (`chat_worker`). Hugging Face's documentation of chat templates says what one can rely on.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from minilora.limits import one_line

MOST_CHARACTERS = 100_000  # of a template; the longest known have 20,000
MOST_TEXT = 4_000_000  # characters that a template may write for one conversation
SECONDS = 0.5  # of processor time for one conversation; it usually takes less than a thousandth
MEMORY = 180 << 20  # bytes
WAITING = 30.0  # seconds of wall-clock time, and one more for each conversation: the machine may be busy
WORKER = Path(__file__).with_name("chat_worker.py")

Message = dict[str, str]  # role, and content


class Written(NamedTuple):
    """A conversation as the text that the model reads."""

    text: str
    answers: tuple[tuple[int, int], ...]  # where each of the assistant's answers begins and ends, with what ends it


class CannotRender(ValueError):
    """A template that refused, or could not render, one of several conversations.

    Attributes
    ----------
    index : int, or None
        Of the conversation; None if it is the template itself.
    """

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(one_line(message))
        self.index = index


class Template(Protocol):
    """What writes conversations down: a ChatTemplate, or the PlainTemplate of models that have none."""

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str: ...

    def write(self, conversations: Sequence[Sequence[Message]]) -> list[Written]: ...


@dataclass(frozen=True)
class ChatTemplate:
    """A model's own template.

    Parameters
    ----------
    source : str
        In Jinja.
    bos, eos : str
        The tokens that begin and end a text, which a template can ask for as bos_token and eos_token.

    Raises
    ------
    RuntimeError
        If Jinja is not installed.
    ValueError
        If the template is too long. What else is wrong with it is found when it is used.
    """

    source: str
    bos: str = ""
    eos: str = ""

    def __post_init__(self) -> None:
        if find_spec("jinja2") is None:
            raise RuntimeError("chat templates need the package jinja2: pip install 'minilora[hf]'")
        if not isinstance(self.source, str):
            raise TypeError(f"the chat template must be a str, not {type(self.source).__name__}")
        if len(self.source) > MOST_CHARACTERS:
            length = f"{len(self.source):,} characters"
            raise ValueError(f"the chat template has {length}; it must have at most {MOST_CHARACTERS:,}")

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """The text of some messages, for a model to read.

        Parameters
        ----------
        messages : sequence of dict
            With role ("system", "user" or "assistant") and content.
        add_generation_prompt : bool
            Whether the beginning of an answer by the assistant follows.

        Raises
        ------
        CannotRender
            A ValueError of one line: the template refused, is not Jinja, or took too much time or memory.
        """
        (answer,) = self._ask([{"messages": list(messages), "prompt": add_generation_prompt, "cuts": []}])
        return answer["text"]

    def write(self, conversations: Sequence[Sequence[Message]]) -> list[Written]:
        """Whole conversations as texts, with the places of the assistant's answers in them.

        An answer is what the text of the messages up to it has more than the prompt for it:

            render(messages[:i], add_generation_prompt=True)     ... <|im_start|>assistant\\n
            render(messages[: i + 1])                            ... <|im_start|>assistant\\nGood morning.<|im_end|>

        Raises
        ------
        CannotRender
            See `render`; also if the text of a conversation does not begin with those of its beginnings. (Some
            templates leave earlier thoughts out, or move the system's message to the last turn.)
        """
        asked = []
        for messages in conversations:
            turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
            cuts = [cut for i in turns for cut in ((i, True), (i + 1, False))]
            asked.append({"messages": list(messages), "prompt": False, "cuts": cuts})
        written = []
        for index, answer in enumerate(self._ask(asked)):
            ends = answer["lengths"]
            places = tuple(zip(ends[::2], ends[1::2], strict=True))
            if any(begin < 0 or end < begin for begin, end in places):
                raise CannotRender(
                    "the chat template writes the beginning of a conversation otherwise when more follows, so the "
                    "places of the answers are unknown; each conversation must end with its first answer",
                    index,
                )
            written.append(Written(answer["text"], places))
        return written

    def _ask(self, conversations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The worker's answers; CannotRender for the first that is an error."""
        variables = {"bos_token": self.bos, "eos_token": self.eos, "tools": None, "documents": None}
        limits = {"seconds": SECONDS, "memory": MEMORY, "most": MOST_TEXT}
        lines = [{"template": self.source, "variables": variables, **limits}, *conversations]
        try:
            done = subprocess.run(  # -P: its folder has modules of minilora, which are not its own
                [sys.executable, "-P", str(WORKER)],
                input="\n".join(map(json.dumps, lines)).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=WAITING + len(conversations),
                check=False,
            )
            output, stopped = done.stdout, done.returncode != 0
        except subprocess.TimeoutExpired as expired:
            output, stopped = expired.stdout or b"", True
        answers = [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
        for index, answer in enumerate(answers, -1):
            if "error" in answer:
                raise CannotRender(f"the chat template failed: {answer['error']}", index if index >= 0 else None)
        if stopped or len(answers) < len(lines):
            raise CannotRender(
                f"the chat template was stopped: it must render a conversation within {SECONDS:g} s and "
                f"{MEMORY >> 20} MB; does it loop?",
                len(answers) - 1 if answers else None,
            )
        return answers[1:]


@dataclass(frozen=True)
class PlainTemplate:
    """How conversations are written down for a model that has no template of its own: a label before each message.

        System: Be brief.
        User: Hello!
        Assistant: Good morning.

    The model's end of text, a token that no text contains, ends each answer; see `conversation_rows`.
    """

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """See `ChatTemplate.render`."""
        text = self._write(messages).text
        return f"{text}Assistant:" if add_generation_prompt else text

    def write(self, conversations: Sequence[Sequence[Message]]) -> list[Written]:
        """See `ChatTemplate.write`."""
        return [self._write(messages) for messages in conversations]

    def _write(self, messages: Sequence[Message]) -> Written:
        text, answers = "", []
        for message in messages:
            label = f"{message['role'].capitalize()}:"
            begin, text = len(text) + len(label), f"{text}{label} {message['content']}"
            if message["role"] == "assistant":
                answers.append((begin, len(text)))
            text += "\n"
        return Written(text, tuple(answers))
