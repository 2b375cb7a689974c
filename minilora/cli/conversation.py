"""A conversation with a model: what was said, what the next prompt is, and what the commands of `chat` change."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy

import minilora
from minilora.cli.opening import adapter_file, classes_of, holds, load_adapter
from minilora.cli.options import number
from minilora.cli.printing import typed
from minilora.data import (
    Conversation,
    Message,
    Template,
    TextStream,
    Tokenizer,
    chat_prompt,
    conversation_rows,
)
from minilora.interop.opening import OpenedModel
from minilora.methods import adapter_names, method_of
from minilora.methods.full import FullConfig
from minilora.methods.state import adapters_of
from minilora.models.sampling import Sampling
from minilora.models.streaming import Session

ROOM = 0.25  # of the model's length is kept for the answer, if it can be that long
GREEDY = {"top_k": None, "top_p": None}


class Chat:
    """What was said, and who answers.

    Parameters
    ----------
    opened : OpenedModel
        A decoder, with the adapter.
    adapter : str, optional
        What it was opened from.
    system : str, optional
        An instruction that stands before the conversation.
    max_tokens : int
        Of an answer.
    sampling : Sampling
    rng : numpy.random.Generator

    Attributes
    ----------
    notice : str
        What the user should know about the last answer; empty if there is nothing.
    """

    def __init__(
        self,
        opened: OpenedModel,
        adapter: str | None,
        *,
        system: str | None,
        max_tokens: int,
        sampling: Sampling,
        rng: numpy.random.Generator,
    ) -> None:
        self.opened, self.max_tokens, self.sampling, self.rng = opened, max_tokens, sampling, rng
        self.session = Session(opened.model)
        self.tokenizer, self.template = opened.tokenizer, opened.template
        self.stops = stops_of(self.tokenizer, self.template)
        self.adapter_name, self.adapter = adapters_of(opened.model).active, adapter
        self.system, self.notice = system, ""
        self.messages: list[Message] = []

    def who(self) -> str:
        """Who answers, in words."""
        with_it = f"with {self.adapter}" if self.is_on else f"without {self.adapter}" if self.adapter else "as it is"
        return f"{self.opened.name}, {with_it}"

    @property
    def is_on(self) -> bool:
        """Whether an adapter answers."""
        return self.adapter is not None and (self._is_full or adapters_of(self.opened.model).active is not None)

    @property
    def _is_full(self) -> bool:
        """Whether the adapter is full fine-tuning's, which has replaced the base's own weights."""
        return isinstance(method_of(self.opened.model), FullConfig)

    def answer(self, text: str) -> Iterator[str]:
        """Say something, and yield the pieces of the answer as they are written. Both become part of what was said.

        Raises
        ------
        ValueError
            If the model cannot read it; it is then no part of what was said.
        """
        self.notice = ""
        self.messages.append({"role": "user", "content": text})
        try:
            ids = self._prompt()
        except ValueError:
            self.messages.pop()
            raise
        limit = min(self.max_tokens, int(self.opened.model.longest_input) - len(ids))
        pieces, written, n = TextStream(self.tokenizer), "", 0
        tokens = self.session.stream(ids, max_tokens=limit, stop=self.stops, rng=self.rng, **asdict(self.sampling))
        try:
            for token in tokens:
                n += 1
                piece = pieces.add(token)
                yield (piece := piece if written else piece.lstrip())
                written += piece
            yield (piece := pieces.end())
            written += piece
        except KeyboardInterrupt:
            self.session.forget()  # it can have come in the middle of a token
            raise
        finally:
            self.messages.append({"role": "assistant", "content": written})
        if n == limit:
            self.notice += f"(cut after {n:,} tokens)"

    def _prompt(self) -> numpy.ndarray:
        """What was said as token ids, without the oldest messages if all of it would leave too little room."""
        longest = int(self.opened.model.longest_input)
        most = longest - min(self.max_tokens, int(ROOM * longest))
        before = [{"role": "system", "content": self.system}] if self.system else []
        ids, left_out = self._read([*before, *self.messages]), 0
        while len(ids) > most and len(self.messages) > 1:
            del self.messages[:2]
            left_out += 2
            ids = self._read([*before, *self.messages])
        if len(ids) >= longest:
            raise ValueError(f"that made {len(ids):,} tokens; it must make fewer than {longest:,} for this model")
        if left_out:
            self.notice = f"(the oldest {left_out} messages no longer fit, and were left out) "
        return ids

    def _read(self, messages: list[Message]) -> numpy.ndarray:
        return chat_prompt(messages, self.tokenizer, self.template)

    def command(self, word: str, rest: str) -> str:
        """Follow a command; returns what has changed, in words.

        Raises
        ------
        ValueError
            If there is no such command, or it cannot be followed; nothing has changed then.
        """
        match word:
            case "/adapter":
                return self._switch(rest)
            case "/load":
                return self._load(rest)
            case "/temperature":
                self.sampling = replace(self.sampling, temperature=_number(rest), **({} if _number(rest) else GREEDY))
                return f"temperature {self.sampling.temperature:g}"
            case "/system":
                self.system, self.messages = rest or None, []
                return f"begun again, {'with another' if rest else 'without an'} instruction"
            case "/reset":
                self.messages = []
                return "begun again"
        raise ValueError(f"there is no command {typed(word)}; /help shows them")

    def _switch(self, on: str) -> str:
        if on not in ("on", "off"):
            raise ValueError(f"/adapter was {typed(on) if on else 'alone'}; it must be on or off")
        if self.adapter is None:
            raise ValueError("there is no adapter; /load FILE takes one")
        if self._is_full:
            raise ValueError(f"{self.adapter} replaced the base's own weights, and cannot be switched off")
        minilora.set_adapter(self.opened.model, self.adapter_name if on == "on" else None)
        self.session.forget()
        return self.who()

    def _load(self, file: str) -> str:
        if not file:
            raise ValueError("/load was alone; it must name an adapter's file or run folder")
        model = self.opened.model
        try:
            path = adapter_file(file)
            is_classifier = bool(classes_of(path))
        except ValueError as error:  # it speaks of chat's options
            said = str(error).replace("--adapter was", "/load was", 1)
            raise ValueError(said.replace("give it as --model", "start chat with it as --model")) from None
        if is_classifier:
            raise ValueError(f"{file} is a classifier's adapter; this model writes text")
        if self._is_full or holds(path, ("full",)):
            raise ValueError(f"{file} cannot be loaded here: full fine-tuning replaces the base; start chat with it")
        name = f"{file} ({len(adapter_names(model)) + 1})"
        load_adapter(model, path, name)
        self.adapter_name, self.adapter = name, file
        self.session.forget()
        return self.who()


def stops_of(tokenizer: Tokenizer, template: Template) -> tuple[int, ...]:
    """The tokens that end an answer: the control token that the template writes after one, and the end of text."""
    said = Conversation(({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}))
    (row,) = conversation_rows([said], tokenizer, template)
    last = int(row.tokens[row.counts][-1])
    is_control = tokenizer.decode([last]) == ""
    return (tokenizer.end_of_text, last) if is_control else (tokenizer.end_of_text,)


def _number(text: str) -> float:
    try:
        return number(0, 1000)(text)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"/temperature {error}") from None
