"""Tokens one at a time, and a session that reads only what is new of each prompt.

    for token in stream(model, prompt, max_tokens=100, stop=tokenizer.end_of_text):
        ...

The keys and values of a position depend on the tokens up to it and on nothing else. So if a prompt begins with tokens
that have been read before, as each turn of a chat does, their keys and values are still right, and only the rest is
read.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy

from minilora.arrays.backend import Array
from minilora.arrays.threads import one_blas_thread
from minilora.models.decode import new_logits
from minilora.models.decoder import Decoder
from minilora.models.flatten import flatten
from minilora.models.generation import read
from minilora.models.request import Request, read_request
from minilora.models.sampling import Sampling


def stream(
    model: Decoder,
    prompt: Sequence[int] | numpy.ndarray,
    *,
    max_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | Collection[int] | None = None,
    rng: numpy.random.Generator | None = None,
) -> Iterator[int]:
    """Continue one prompt, and yield each new token as soon as it is chosen.

    Parameters and errors are those of `generate`, and so are the tokens. Wrong arguments raise at once, not at the
    first token.
    """
    return Session(model).stream(
        prompt, max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, stop=stop, rng=rng
    )


class Session:
    """A model that remembers what it has read and said, for a chat.

    Parameters
    ----------
    model : GPT or Llama
        Weights that are replaced between two prompts (an adapter switched or merged) are noticed, and the prompt is
        then read from its beginning. Values that change in place, as in training, are not: call `forget`.
    """

    def __init__(self, model: Decoder) -> None:
        self.model = model
        self.forget()

    def forget(self) -> None:
        """Read the next prompt from its beginning, with the weights as they are then."""
        self._past = self.model.new_past(1)
        self._flat = flatten(self.model, self.model.config.n_positions)
        self._held: list[int] = []  # the tokens whose keys and values _past holds
        self._weights = self._arrays()

    def _arrays(self) -> list[Array]:
        return [array for p in self.model.parameters() for array in p.held]

    def stream(
        self,
        prompt: Sequence[int] | numpy.ndarray,
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        stop: int | Collection[int] | None = None,
        rng: numpy.random.Generator | None = None,
    ) -> Iterator[int]:
        """Continue a whole prompt, earlier turns included, and yield each new token; see the function `stream`.

        The iterator can be abandoned at any token. Only the newest one of a session may be continued.
        """
        request = read_request(self.model, [prompt], max_tokens, Sampling(temperature, top_k, top_p), stop, rng)
        return self._tokens(request.prompts[0].tolist(), request)

    def _tokens(self, tokens: list[int], request: Request) -> Iterator[int]:
        """Continue `tokens`, and yield each new one."""
        self._keep(self._common(tokens))
        end = request.end(len(tokens))
        logits = read(self.model, numpy.array([tokens[len(self._held) :]]), self._past)  # (1, T) -> (1, V)
        self._held = tokens.copy()
        while (token := int(request.choose(logits)[0])) not in request.stops:
            tokens.append(token)
            yield token
            if len(tokens) == end:
                return
            logits = self._next_logits(token)  # (1, V)
            self._held.append(token)

    def _next_logits(self, token: int) -> Array:
        """Logits for what comes after one more token, (1, V)."""
        if self._flat is None:
            return read(self.model, numpy.array([[token]]), self._past)
        with one_blas_thread():
            return new_logits(self._flat, self.model.xp.asarray([token]), len(self._held), self._past)

    def _common(self, tokens: list[int]) -> int:
        """How many of the first tokens need not be read again: all but the last, if all are known."""
        arrays = self._arrays()
        if len(arrays) != len(self._weights) or any(a is not b for a, b in zip(arrays, self._weights, strict=True)):
            self.forget()
        pairs = zip(tokens, self._held, strict=False)
        return next((i for i, (new, held) in enumerate(pairs) if new != held), min(len(tokens) - 1, len(self._held)))

    def _keep(self, length: int) -> None:
        """Forget everything after the first `length` tokens."""
        del self._held[length:]
        for layer in self._past:
            layer.length = length
