"""`minilora evaluate`, `generate` and `merge`."""

import minilora
from minilora.methods import lora_layers
from minilora.verbs.opening import check_file, open_decoder, open_model, open_model_and_task


def evaluate(options):
    from minilora.experiments.measure import measure

    model, task = open_model_and_task(options, options.adapter)
    measures = measure(model, task, split=options.split)
    print(f"{task.name}, {options.split}:")
    print_left_out(task)
    print_measures(measures)


def print_left_out(task):
    """How many examples are in no split, if there are any."""
    if task.left_out:
        print(f"examples of more than {task.length} tokens, left out: {task.left_out:,}")


def print_measures(result):
    """The loss; for mini-E2E the slot scores; of classes the scores, beside those of the baselines."""
    if "baselines" in result:
        print_scores(result)
        return
    print(f"loss {result['loss']:.4f} nats a byte, {result['bits_per_byte']:.4f} bits a byte")
    if "slot_exact" in result:
        exact, errors = 100 * result["slot_exact"], 100 * result["slot_error_rate"]
        print(f"slot-exact sentences {exact:.0f} %, slot error rate {errors:.0f} %")


def print_scores(result):
    """A table of accuracy and macro-F1."""
    from minilora.experiments.text_table import aligned

    scores = {"the model": result, **result["baselines"]}
    rows = [(name, f"{100 * s['accuracy']:.2f}", f"{100 * s['macro_f1']:.2f}") for name, s in scores.items()]
    print(f"loss {result['loss']:.4f} nats a text")
    print("\n".join(aligned([("", "accuracy, %", "macro-F1, %"), *rows])))


def generate(options):
    import numpy

    from minilora.data import EOT, SEPARATOR, ByteTokenizer

    tokenizer, model = ByteTokenizer(), open_decoder(options, options.adapter)
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
    if lora_layers(model):
        minilora.merge_lora(model)
        minilora.remove_lora(model)
    minilora.save_model(model, options.out, command=options.command)
    print(f"{options.out}: the merged model")
