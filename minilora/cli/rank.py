"""`minilora rank`: of a small matrix, step by step; or of weights and their changes, layer by layer."""

import argparse
import re
from pathlib import Path
from typing import Any

import numpy

from minilora.analysis import (
    adapter_changes,
    low_rank_approximation,
    low_rank_errors,
    matrix_rank_steps,
    numerical_rank,
    rank_measures,
    shape_of,
    singular_values,
    weight_changes,
)
from minilora.analysis.changes import as_array
from minilora.arrays.backend import to_numpy
from minilora.cli.layers import chosen, save_figure
from minilora.cli.opening import named_model, open_lora, open_model
from minilora.cli.options import LAYERS_HELP, add_adapter, add_json, add_model, number, refuse
from minilora.cli.parser import Parser
from minilora.cli.paths import check_output
from minilora.cli.printing import print_json, progress, table, typed
from minilora.methods import remove_lora

EXAMPLE = 'minilora rank "1,2;2,5;2,4" --plot steps.png'
TEXTBOOK = "1,2;2,5;2,4"
LARGEST = 12  # rows and columns of a matrix
ENTRY = re.compile(r"\s*[+-]?(\d{1,12}(/\d{1,12})?|\d{1,12}\.\d{0,12}|\.\d{1,12})([eE][+-]?\d{1,2})?\s*", re.ASCII)


def add_options(p: Parser) -> None:
    """The matrix; or the model, its changes, and which layers."""
    p.add_argument(
        "matrix",
        nargs="?",
        help="numbers such as 2, 1/3 or 0.1, separated by commas, with semicolons between rows; write -- before a "
        f"leading minus (default: {TEXTBOOK})",
    )
    add_model(p)
    add_adapter(p)
    p.add_argument("--tuned", metavar="FILE", help="the model after full fine-tuning, or its run folder")
    p.add_argument("--weights", action="store_true", help="the weights W of the model themselves, too")
    p.add_argument("--layers", help=LAYERS_HELP)
    p.add_argument(
        "--share",
        type=number(0, 100, above=True),
        metavar="PERCENT",
        default=90.0,
        help="percent of ||W||^2 or ||delta W||^2 for which directions are counted",
    )
    p.add_argument(
        "--plot",
        metavar="FILE",
        help="a PNG: for a small matrix, the elimination; for several layers, the ranks of each; for one, its "
        "spectrum, cut for --share",
    )
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Print the ranks, and draw them if asked."""
    if options.plot is not None:
        reads = {"--model": options.model, "--adapter": options.adapter, "--tuned": options.tuned}
        check_output("--plot", options.plot, reads, example="ranks.png")
    of_layers = options.typed & {"adapter", "tuned", "weights"}
    if of_layers and options.matrix is not None:
        raise ValueError(f"a matrix was given, and --{min(of_layers)}; it must be one of the two")
    if of_layers:
        return ranks_of_layers(options)
    needs = "a matrix does not use it; it needs --weights, --adapter or --tuned"
    refuse(options, ("model", "layers", "share"), needs)
    return rank_of_matrix(options)


def rank_of_matrix(options: argparse.Namespace) -> int:
    """Row rank and column rank of the small matrix on the command line, by elimination, and by singular values."""
    M = matrix_in(TEXTBOOK if options.matrix is None else options.matrix)
    rows, columns = matrix_rank_steps(M), matrix_rank_steps(list(zip(*M, strict=True)))
    floats = numpy.array(rows.steps[0].matrix, dtype=numpy.float64)
    S, rank = singular_values(floats), numerical_rank(floats)
    if options.plot is not None:
        from minilora import plots

        save_figure(plots.elimination(rows), options.plot)
    if options.json:
        ranks = {"row_rank": rows.rank, "column_rank": columns.rank, "numerical_rank": rank, "singular_values": S}
        steps = [
            {"operation": step.operation, "matrix": [list(map(str, row)) for row in step.matrix]} for step in rows.steps
        ]
        print_json({**ranks, "steps": steps})
        return 0
    print(f"Row rank:\n{rows}\n{_count(rows.rank, 'nonzero row')}: row rank {rows.rank}\n")
    print(f"Column rank, the row rank of the transpose:\n{columns}")
    print(f"{_count(columns.rank, 'nonzero row')}: column rank {columns.rank}\n")
    print(f"Singular values: {', '.join(f'{value:.4g}' for value in S)}\nof which more than rounding: {rank}")
    if options.plot is not None:
        print(f"{options.plot}: the elimination, step by step")
    return 0


def matrix_in(text: str) -> list[list[str]]:
    """The entries of a matrix, row by row, each a number that is small enough for exact arithmetic.

    Raises
    ------
    ValueError
        If it is too large, or an entry is not such a number; the message names it.
    """
    if len(text) > 10_000:
        raise ValueError(f"the matrix had {len(text):,} characters; it must have at most 10,000")
    M = [row.split(",") for row in text.split(";")]
    if len(M) > LARGEST or max(map(len, M)) > LARGEST:
        size = f"{len(M)} rows of up to {max(map(len, M))} entries"
        raise ValueError(f"the matrix had {size}; it must have at most {LARGEST} rows and columns")
    for entry in (entry for row in M for entry in row):
        if not ENTRY.fullmatch(entry) or re.search(r"/0+\s*$|/.*[eE]", entry):
            raise ValueError(
                f"the matrix held {typed(entry.strip())}; each entry must be a number such as 2, 1/3, 0.1 or 1e9, with "
                "up to 12 digits"
            )
    return M


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def ranks_of_layers(options: argparse.Namespace) -> int:
    """The ranks of W, of an adapter's delta_W and of full fine-tuning's, a row for each layer."""
    found = {}
    if options.weights:
        found["W"] = weights_of(open_model(options.model, options.adapter).model)
    if options.adapter is not None:
        found["LoRA"] = adapter_changes(open_lora(options.model, options.adapter))
    if options.tuned is not None:
        found["full fine-tuning"] = changes_of_tuning(options.model, options.tuned)
    found = {label: chosen(matrices, options.layers) for label, matrices in found.items()}
    share = options.share / 100
    measured = {
        label: {path: rank_measures({path: M}, share)[path] for path, M in progress(matrices.items(), label, "matrix")}
        for label, matrices in found.items()
    }
    if options.plot is not None:
        save_figure(rank_figure(found, measured, share), options.plot)
    if options.json:
        print_json(measured)
        return 0
    for label, matrices in found.items():
        print("\n".join(rank_table(label, matrices, measured[label], options.share)) + "\n")
    if options.plot is not None:
        print(f"{options.plot}: the directions that carry {options.share:g} % of each matrix")
    return 0


def rank_table(title: str, deltas: dict[str, Any], measures: dict[str, Any], percent: float) -> list[str]:
    """The ranks of each matrix, a row for each layer."""
    rows = [(title, "shape", "rank", "stable", "effective", f"for {percent:g} %", "norm")]
    for path, m in measures.items():
        O, I = shape_of(deltas[path])
        numbers = f"{m.rank}", f"{m.stable_rank:.1f}", f"{m.effective_rank:.1f}", f"{m.directions}", f"{m.norm:.3g}"
        rows.append((path, f"{O} x {I}", *numbers))
    return table(rows)


def rank_figure(found: dict[str, dict[str, Any]], measured: dict[str, dict[str, Any]], share: float):
    """The ranks of all matrices; or, if there is only one, how its spectrum is cut for the share."""
    from minilora import plots

    (label, matrices), *others = found.items()
    if others or len(matrices) > 1:
        return plots.ranks(measured, share=share)
    ((path, M),) = matrices.items()
    r = measured[label][path].directions
    if r == 0:
        raise ValueError(f"{path} is zero; there is nothing to draw")
    return plots.low_rank(as_array(M), low_rank_approximation(M, r), low_rank_errors(M))


def weights_of(model) -> dict[str, numpy.ndarray]:
    """The weight matrices of a model without its LoRA adapter, by the path of the layer."""
    remove_lora(model)
    weights = {name: to_numpy(p.data) for name, p in model.named_parameters()}
    return {name.removesuffix(".W"): W for name, W in weights.items() if W.ndim == 2}


def changes_of_tuning(model: str | None, tuned: str) -> dict[str, numpy.ndarray]:
    """delta_W of full fine-tuning, by the path of the layer."""
    path = Path(tuned)
    if not path.exists():
        raise ValueError(f"--tuned was {tuned}; there is no such file or folder")
    try:
        after = named_model(tuned).model
    except ValueError as error:
        raise ValueError(str(error).replace("--model was", "--tuned was")) from None
    before = (open_model(model) if model is None else named_model(model)).model
    if type(before) is not type(after):  # of an encoder and the classifier that it became: without their heads
        before, after = (getattr(m, "encoder", m) for m in (before, after))
    if type(before) is not type(after):
        kinds = type(after).__name__, type(before).__name__
        raise ValueError(f"--tuned was {tuned}, a {kinds[0]}; it must be a {kinds[1]}, as the model that it began as")
    before, after = ({n: to_numpy(p.data) for n, p in m.named_parameters()} for m in (before, after))
    return {name.removesuffix(".W"): delta_W for name, delta_W in weight_changes(before, after).items()}
