"""`minilora evaluate`, `generate` and `merge`."""

import minilora
from minilora.verbs.opening import check_file, open_model, open_task


def evaluate(options):
    from minilora.experiments.measure import measure

    model = open_model(options, options.adapter)
    task = open_task(options, model)
    print(f"{task.name}, {options.split}:")
    print_measures(measure(model, task, split=options.split))


def print_measures(result):
    """The loss, and for mini-E2E the slot scores."""
    print(f"loss {result['loss']:.4f} nats a byte, {result['bits_per_byte']:.4f} bits a byte")
    if "slot_exact" in result:
        exact, errors = 100 * result["slot_exact"], 100 * result["slot_error_rate"]
        print(f"slot-exact sentences {exact:.0f} %, slot error rate {errors:.0f} %")


def generate(options):
    import numpy

    from minilora.data import EOT, SEPARATOR, ByteTokenizer

    tokenizer, model = ByteTokenizer(), open_model(options, options.adapter)
    (answer,) = minilora.generate(
        model,
        [encode_prompt(options.prompt + (SEPARATOR if options.source else ""), tokenizer)],
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        stop=EOT,
        rng=numpy.random.default_rng(options.seed),
    )
    answer = tokenizer.decode(answer)
    print(answer if options.source else options.prompt + answer)


def encode_prompt(prompt, tokenizer):
    """The prompt's tokens, or an error that names it."""
    try:
        return tokenizer.encode(prompt)
    except ValueError as error:
        raise ValueError(f"the prompt: {error}") from None


def merge(options):
    if options.adapter is None:
        raise ValueError("--adapter was not given; it names the adapter to merge")
    check_file(options.out, "merged.safetensors")
    model = open_model(options, options.adapter)
    minilora.merge_lora(model)
    minilora.remove_lora(model)
    minilora.save_model(model, options.out, command=options.command)
    print(f"{options.out}: the merged model")
