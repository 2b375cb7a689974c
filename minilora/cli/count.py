"""`minilora count`: parameters, bytes and operations of a method, by formula, next to the paper's own figures."""

import argparse
from collections.abc import Sequence
from typing import Any

from minilora.accounting import (
    ARCHITECTURES,
    METHODS,
    PUBLISHED,
    Settings,
    architecture_of,
    checkpoint_bytes,
    count_parameters,
    find_architecture,
    flops_per_token,
    memory_estimate,
    message_bytes,
)
from minilora.accounting import adaptation as adapt
from minilora.cli.method_options import (
    ADALORA,
    ALL_PREFIXES,
    HOULSBY,
    IA3,
    LORA_WITH_PREFIX,
    PROMPT_TUNING,
    RANDOM_SUBSPACE,
    TRAINABLE_TOKENS,
    VERA,
    add_rank_and_targets,
    add_settings_of_baselines,
)
from minilora.cli.opening import named_model
from minilora.cli.options import MOST, add_choice, add_json, add_model, integer, names_in, one_of, refuse, refuse_unused
from minilora.cli.parser import Parser
from minilora.cli.printing import WIDTH, print_json, print_lines, wrapped

EXAMPLE = "minilora count gpt3-175b --rank 4 --targets q_proj,v_proj"

LORA = ("lora", "dora", "lora-fa", "lora-ga", *LORA_WITH_PREFIX)
USED_BY = {  # the methods that use an option
    "rank": LORA,
    "targets": (*LORA, RANDOM_SUBSPACE, VERA, ADALORA, IA3),
    "feedforward": (IA3,),
    "tokens": (TRAINABLE_TOKENS,),
    "prompt_length": (PROMPT_TUNING,),
    "vera_rank": (VERA,),
    "initial_rank": (ADALORA,),
    "dimension": (RANDOM_SUBSPACE,),
    "size": HOULSBY,
    "leave_out": ("adapter-d",),
    **dict.fromkeys(("before", "after"), ALL_PREFIXES),
    "blocks": ("top-k",),
}
OF_A_STEP = ("batch_size", "length", "optimizer", "recompute", "bits")
TRAIN_MATRICES = ("full", "top-k")
USUAL_LENGTH = 512  # of a sequence, if the model takes that many tokens


def add_options(p: Parser) -> None:
    """What is counted, by which method, and the step whose memory is estimated."""
    from minilora.training import TrainConfig

    p.add_argument(
        "architecture",
        nargs="?",
        help="such as gpt2-medium; list: show all of them; published: all counts of the paper",
    )
    add_model(p, "none; an architecture is counted")
    p.add_argument("--method", type=one_of(METHODS), metavar="METHOD", default="lora", help=", ".join(METHODS))
    add_rank_and_targets(p, LORA)
    add_settings_of_baselines(p)
    p.add_argument(
        "--batch-size", type=integer(1, MOST), metavar="N", default=TrainConfig.batch_size, help="sequences in a step"
    )
    p.add_argument(
        "--length",
        type=integer(1, MOST),
        metavar="T",
        help=f"tokens in a sequence (default: {USUAL_LENGTH}, or the most that the architecture takes)",
    )
    add_choice(p, "--optimizer", ("adamw", "sgd"), default="adamw", help="whose state is counted")
    p.add_argument("--recompute", action="store_true", help="keep only the input of each block, as finetune can")
    add_choice(
        p, "--bits", ("4", "8"), default=None, help="the bits in which the blocks' matrices are kept (default: float32)"
    )
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Count, and print the counts."""
    if (options.architecture is None) == (options.model is None):
        raise ValueError("count takes either an architecture (`minilora count list` names them) or --model MODEL")
    if options.architecture in ("list", "published"):
        unused = ("method", *USED_BY, *OF_A_STEP)
        refuse(options, unused, f"`minilora count {options.architecture}` does not use it; it needs an architecture")
        results, lines = (listed, listed_lines) if options.architecture == "list" else (published, published_lines)
        print_json(results()) if options.json else print("\n".join(lines()))
        return 0
    refuse_unused(options, USED_BY, "method")
    if options.method in TRAIN_MATRICES:
        refuse(options, ["bits"], f"--method {options.method} trains the matrices themselves, in float32")
    results = {}
    if options.model is None:
        name, architecture = options.architecture, find_architecture(options.architecture)
    else:
        model = named_model(options.model).model
        name, architecture = options.model, architecture_of(model.config)
        holds = count_parameters(model).total
        results = {"holds": holds, "head": holds - count_parameters(getattr(model, "encoder", model)).total}
    settings = {key: getattr(options, key) for key in USED_BY if options.method in USED_BY[key]}
    for names in ("targets", "feedforward"):
        if names in settings and (names in options.typed or options.method != IA3):
            settings[names] = names_in(settings[names])
        else:
            settings.pop(names, None)  # the method's own
    if "tokens" not in options.typed:
        settings.pop("tokens", None)
    results |= counted(
        name,
        architecture,
        options.method,
        settings,
        batch_size=options.batch_size,
        length=options.length,
        optimizer=options.optimizer,
        recompute=options.recompute,
        bits=None if options.bits is None else int(options.bits),
    )
    print_json(results) if options.json else print_lines(counted_lines(results))
    return 0


def counted(
    name: str,
    a,
    method: str,
    settings: dict[str, Any],
    *,
    batch_size: int,
    length: int | None,
    optimizer: str,
    recompute: bool = False,
    bits: int | None = None,
) -> dict[str, Any]:
    """Parameters, bytes and operations of one method on one architecture, and what the paper prints for it.

    Parameters
    ----------
    name : str
        The architecture's name, for messages.
    a : Architecture
    method : str
    settings : dict
        The method's own settings.
    batch_size : int
        N of a training step.
    length : int, optional
        T of a training step; if not given, USUAL_LENGTH, or the most that there is room for.
    optimizer : str
    recompute : bool
    bits : {4, 8}, optional
        Of the numbers of the blocks' matrices, if they are quantised.
    """
    adaptation, full = adapt(a, method, **settings), adapt(a, "full")
    room = a.longest - adaptation.prefix
    if room < 1:
        were = f"--before and --after were {adaptation.prefix:,} together"
        raise ValueError(f"{were}; they must be below {a.longest:,} for {name}")
    length = int(min(USUAL_LENGTH, room)) if length is None else length
    if length > room:
        prefix = f", in addition to the {adaptation.prefix} of the prefix" if adaptation.prefix else ""
        raise ValueError(f"--length was {length:,}; it must be from 1 to {room:,} for {name}{prefix}")
    step = {"batch_size": batch_size, "length": length, "optimizer": optimizer, "recompute": recompute}
    step |= {"bits": bits} if bits is not None else {}
    memory = memory_estimate(a, adaptation, **step)
    flops, flops_full = flops_per_token(a, adaptation, length), flops_per_token(a, full, length)
    grouped = {"G": a.n_kv_head} if a.n_kv_head != a.n_head else {}
    paper = [
        row
        for row in PUBLISHED
        if (ARCHITECTURES[row.architecture], row.method, Settings(**row.settings)) == (a, method, Settings(**settings))
    ]
    return {
        "name": name,
        "parameters": a.n_parameters,
        "shape": {"L": a.n_layer, "C": a.d_model, "H": a.n_head, **grouped, "F": a.d_mlp, "V": a.vocab_size},
        "method": method,
        "settings": settings,
        "trained": adaptation.trainable,
        "percent": 100 * adaptation.trainable / a.n_parameters,
        "checkpoint_bytes": {"float32": checkpoint_bytes(adaptation, 4), "float16": checkpoint_bytes(adaptation, 2)},
        "message_bytes": {method: message_bytes(adaptation.trainable), "full": message_bytes(full.trainable)},
        "step": step,
        "memory_bytes": {**memory._asdict(), "total": memory.total},
        "operations_per_token": {**flops._asdict(), "training": flops.training},
        "training_of_full": flops.training / flops_full.training,
        "paper": [_published(row) for row in paper],
    }


def counted_lines(results: dict[str, Any]) -> list[str]:
    """The results of `counted`, as lines of text."""
    shape = ", ".join(f"{letter} {size}" for letter, size in results["shape"].items())
    settings = [f"{key} {v if isinstance(v, int) else ','.join(map(str, v))}" for key, v in results["settings"].items()]
    step, checkpoint = results["step"], results["checkpoint_bytes"]
    sent, sent_full = results["message_bytes"][results["method"]], results["message_bytes"]["full"]
    bits = f", the blocks' matrices in {step['bits']} bits" if "bits" in step else ""
    lines = []
    if "holds" in results:
        head = f", {results['head']:,} of them in its head" if results["head"] else ""
        lines.append(f"{results['name']} holds {results['holds']:,} parameters{head}")
    lines += [
        f"{results['name']}: {results['parameters']:,} parameters ({shape})",
        f"{', '.join([results['method'], *settings])}: {results['trained']:,} trained, {results['percent']:.4g} %",
        f"checkpoint: {_MB(checkpoint['float32'])} MB in float32, {_MB(checkpoint['float16'])} MB in float16",
        f"summed over n ranks in a step: {_MB(sent)} MB (full: {_MB(sent_full)})",
        "    each rank sends 2 (n - 1) / n of it",
        f"memory of a step of {step['batch_size']} x {step['length']} tokens with {step['optimizer']}, in float32"
        f"{', recomputed' * step['recompute']}{bits}, MB:",
        *(f"  {part:<12}{_MB(n):>16}" for part, n in results["memory_bytes"].items()),
        "operations per token, millions:",
        *(f"  {part:<12}{_MB(n):>16}" for part, n in results["operations_per_token"].items()),
    ]
    lines[-1] += f"   {results['training_of_full']:.3f} of full's"
    if not results["paper"]:
        return [*lines, "the paper prints no count for this"]
    return [*lines, *_published_lines(results["paper"])]


def _MB(n: float) -> str:
    return f"{n / 1e6:,.2f}"


def listed() -> dict[str, Any]:
    """All architectures, with their sizes, and all methods."""
    letters = {"L": "n_layer", "C": "d_model", "H": "n_head", "F": "d_mlp", "V": "vocab_size"}
    return {
        "architectures": {
            name: {letter: getattr(a, size) for letter, size in letters.items()} | {"parameters": a.n_parameters}
            for name, a in ARCHITECTURES.items()
        },
        "methods": list(METHODS),
    }


def listed_lines() -> list[str]:
    """The results of `listed`, as lines of text."""
    lines = [f"{'architecture':<20}{'L':>4}{'C':>7}{'H':>4}{'F':>7}{'V':>8}{'parameters':>18}"]
    for name, a in listed()["architectures"].items():
        sizes = f"{a['L']:>4}{a['C']:>7}{a['H']:>4}{a['F']:>7}{a['V']:>8}{a['parameters']:>18,}"
        lines.append(f"{name:<20}{sizes}")
    return [*lines, *wrapped(f"methods: {', '.join(METHODS)}", "", "    ")]


def published() -> list[dict[str, Any]]:
    """The counts that the paper prints, with ours, the verdict and, if needed, the reason."""
    return [_published(row) for row in PUBLISHED]


def published_lines() -> list[str]:
    """The results of `published`, as lines of text."""
    return _published_lines(published())


def _published(row) -> dict[str, Any]:
    names = ("table", "row", "figure", "ours", "verdict", "reason", "also")
    return {name: getattr(row, name) for name in names}


def _published_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each count, below a line for its table; the reason, or a verdict that is too long, follows it."""
    lines, table = [], None
    for row in rows:
        if row["table"] != table:
            table = row["table"]
            lines.append(f"{f'table {table}':<42}{'paper':>10}{'ours':>17}")
        counts = f"{row['row']:<42}{row['figure'] + 'M':>10}{row['ours']:>17,}"
        also = "; ".join(f"{label}: {count:,}" for label, count in row["also"].items())
        reason = "; ".join(filter(None, (row["reason"], also)))
        verdict = row["verdict"]
        if len(counts) + 2 + len(verdict) <= WIDTH:
            lines.append(f"{counts}  {verdict}")
        else:
            lines.append(counts)
            reason = f"{verdict}: {reason}"
        lines += wrapped(reason, "    ", "    ")
    return lines
