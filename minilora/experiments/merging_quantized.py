"""Three ways to merge an adapter that was trained beside a quantised base, and what each does to the model.

python -m minilora.experiments.merging_quantized --model smollm2 --bits 4 --adapter runs/x --out merging.json

The adapter has seen dequant(W_q) in training, and never W. So there are three models that it could become part of
(https://github.com/artidoro/qlora/issues/28, https://github.com/huggingface/peft/issues/2321):

    as trained                  dequant(W_q) beside B A            the reference
    into dequant(W_q)           dequant(W_q) + delta_W             the same up to rounding, in float32
    and quantised again         quantise(dequant(W_q) + delta_W)   as small as the base, and rounded a second time
    into the original W         W + delta_W                        a third model, which was never trained

Each is compared with the reference by its logits on held-out text, and measured on the task. A .gguf file holds no
other W than its blocks' numbers: there, the original W is dequant(W_q).
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import to_numpy
from minilora.data import load_task
from minilora.experiments.measure import measure
from minilora.experiments.record import provenance
from minilora.experiments.text_table import aligned
from minilora.files import write_json
from minilora.interop.opening import open_language_model
from minilora.methods import load_adapter, lora_layers, merge_lora, quantization_of, quantize, remove_lora
from minilora.methods.quantization import PACK
from minilora.models.model import Model

REFERENCE, AGAIN, ORIGINAL = "as trained, unmerged", "into dequant(W_q), quantised again", "into the original W"
WAYS = (REFERENCE, "into dequant(W_q)", AGAIN, ORIGINAL)


def merging_table(
    open_base: Callable[[int | str | None], Model],
    adapter: str | Path,
    task: Any,
    *,
    bits: int | str = 4,
    n_batches: int = 4,
    **options: Any,
) -> list[dict[str, Any]]:
    """What becomes of a model by each of WAYS.

    Parameters
    ----------
    open_base : callable
        ``open_base(bits)`` is the base, each time a new one; ``open_base(None)`` as it was before it was quantised.
    adapter : str or Path
        A LoRA adapter's file, trained beside ``open_base(bits)``.
    task : PairTask, TextTask or ConversationTask
    bits : {4, 8, "nf4", "q4_1", "q8_0"}
    n_batches : int
        Of the task's valid split, for the logits.
    **options
        Of `measure`, such as ``n_prompts=24``.

    Returns
    -------
    list of dict
        Of each way: way; logits_error, ||logits - reference|| / ||reference||; same_token, the share of positions whose
        likeliest token is the reference's; loss in nats per token, and for mini-E2E slot_exact, on test.
    """
    rows, reference = [], None
    for way, model in merged_models(open_base, adapter, bits):
        logits = numpy.concatenate(list(logits_on(model, task, n_batches)))  # (M, V)
        reference = logits if reference is None else reference
        found = measure(model, task, **options)
        rows.append(
            {
                "way": way,
                "logits_error": float(numpy.linalg.norm(logits - reference) / numpy.linalg.norm(reference)),
                "same_token": float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean()),
                **{name: found[name] for name in ("loss", "slot_exact") if name in found},
            }
        )
    return rows


def merged_models(
    open_base: Callable[[int | str | None], Model], adapter: str | Path, bits: int | str
) -> Iterator[tuple[str, Model]]:
    """Yield each of WAYS with its model, one at a time."""
    for way in WAYS:
        model = open_base(None if way == ORIGINAL else bits)
        kinds = list((quantization_of(model) or {"matrices": ()})["matrices"])
        # the adapter was checked with the first model, which is the one that it was trained beside
        load_adapter(model, adapter, other_base=way != REFERENCE)
        if not lora_layers(model):
            raise ValueError(f"adapter was {adapter}, which holds no LoRA; only a delta_W can be merged")
        if way != REFERENCE:
            merge_lora(model)
            remove_lora(model)
        if way == AGAIN:
            quantize(model, kinds[0] if len(kinds) == 1 and kinds[0] in PACK else bits)
        yield way, model


def logits_on(model: Model, task: Any, n_batches: int) -> Iterator[numpy.ndarray]:
    """Yield the logits, (M, V), of the positions that count, of the first batches of valid."""
    for batch in islice(task.batches("valid"), n_batches):
        logits, _ = model.forward(model.to_model(batch.ids))  # (N, T, V)
        yield to_numpy(logits)[numpy.asarray(batch.loss_mask)]


def table_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The rows of `merging_table` as lines of text."""
    names = [name for name in rows[0] if name != "way"]
    formats = {name: ".3g" if name == "logits_error" else ".4f" for name in names}
    cells = [(row["way"], *(f"{row[name]:{formats[name]}}" for name in names)) for row in rows]
    return aligned([("merged", *names), *cells])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: the table, and with --out a file of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="decoder", help="the base, by any of its names")
    parser.add_argument("--adapter", required=True, help="the file of a LoRA adapter that was trained with --bits")
    parser.add_argument("--bits", type=int, choices=(4, 8), default=4)
    parser.add_argument("--task", default="mini-e2e")
    parser.add_argument("--prompts", type=int, default=96, help="how many answers are scored")
    parser.add_argument("--out", help="a .json file")
    options = parser.parse_args(arguments)

    def open_base(bits: int | str | None) -> Model:
        return open_language_model(options.model, bits=bits).model

    base = open_language_model(options.model, bits=options.bits)
    task = load_task(options.task, length=base.model.longest_input, tokenizer=base.tokenizer)
    rows = merging_table(open_base, options.adapter, task, bits=options.bits, n_prompts=options.prompts)
    print("\n".join(table_lines(rows)))
    if options.out:
        about = {"model": options.model, "task": options.task, "quantization": quantization_of(base.model)}
        write_json(options.out, {**about, "rows": rows, **provenance()})


if __name__ == "__main__":
    main()
