"""`minilora generate`: continue a text."""

import argparse

import numpy

from minilora.cli.opening import open_decoder
from minilora.cli.options import (
    add_adapter,
    add_bits,
    add_device,
    add_json,
    add_model,
    add_sampling,
    integer,
    refuse_unused_draws,
)
from minilora.cli.parser import Parser
from minilora.cli.printing import print_json, progress, warn
from minilora.data import SEPARATOR, TextStream, Tokenizer
from minilora.models.streaming import stream

EXAMPLE = 'minilora generate "The function returns " --temperature 0.8'


def add_options(p: Parser) -> None:
    """The prompt, the model, and how tokens are drawn."""
    p.add_argument("prompt", help="the text to continue")
    add_model(p, "the decoder")
    add_adapter(p)
    add_bits(p)
    p.add_argument("--source", action="store_true", help="the prompt is a task's source: answer it, as in training")
    p.add_argument(
        "--max-tokens",
        type=integer(1, 1_000_000),
        metavar="N",
        default=120,
        help="the most tokens to add; the model's length limits them too",
    )
    add_device(p)
    add_sampling(p)
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Print the prompt with what the model adds; with --source, only the answer."""
    refuse_unused_draws(options)
    opened = open_decoder(options.model, options.adapter, device=options.device, bits=options.bits)
    model, tokenizer = opened.model, opened.tokenizer
    prompt = encode_prompt(options.prompt + SEPARATOR * options.source, tokenizer, model.longest_input)
    room = model.longest_input - len(prompt)
    if options.max_tokens > room:
        warn(
            "generate",
            f"only {room} of --max-tokens {options.max_tokens} fit: with the prompt's {len(prompt)} they "
            f"are the {model.longest_input} that the model takes",
        )
    tokens = stream(
        model,
        prompt,
        max_tokens=min(options.max_tokens, room),
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        stop=tokenizer.end_of_text,
        rng=numpy.random.default_rng(options.seed),
    )
    pieces = TextStream(tokenizer, after=() if options.source else prompt)
    if options.json:
        room = min(options.max_tokens, room)
        added = [pieces.add(token) for token in progress(tokens, "generate", "token", total=room)]
        print_json({"prompt": options.prompt, "answer": "".join(added) + pieces.end(), "tokens": len(added)})
        return 0
    print("" if options.source else options.prompt, end="", flush=True)
    for token in tokens:
        print(pieces.add(token), end="", flush=True)
    print(pieces.end())
    return 0


def encode_prompt(text: str, tokenizer: Tokenizer, longest: float) -> numpy.ndarray:
    """The tokens of the prompt; a ValueError if there are none, or as many as the model takes."""
    try:
        ids = tokenizer.encode(text)
    except ValueError as error:
        raise ValueError(f"the prompt: {error}") from None
    if not 1 <= len(ids) < longest:
        was = f"had {len(ids):,} tokens" if len(ids) else "was empty"
        raise ValueError(f"the prompt {was}; it must have 1 to {longest - 1:,} tokens for this model")
    return ids
