"""`minilora bench`: speed and memory on this machine."""

import argparse

from minilora.arrays.backend import choose_device
from minilora.arrays.threads import cores
from minilora.cli.completion import from_list, from_words
from minilora.cli.options import add_device, add_json, add_seed, add_threads, integer, names_in, refuse
from minilora.cli.parser import Parser
from minilora.cli.paths import check_output_folder
from minilora.cli.printing import print_json, print_lines, table, warn

EXAMPLE = "minilora bench train generate --shapes S1,S2 --against torch"


def add_options(p: Parser) -> None:
    """What is measured, how often, and what it is compared with."""
    from minilora.experiments.bench.contenders import PEERS
    from minilora.experiments.bench.run import PARTS, BenchConfig
    from minilora.experiments.bench.shapes import SHAPES

    shapes, methods = BenchConfig.shapes, BenchConfig.methods
    action = p.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    action.completer = from_words(PARTS)
    known = {"--shapes": (shapes, SHAPES), "--methods": (methods, methods)}
    for name, (default, words) in known.items():
        action = p.add_argument(name, default=",".join(default), help=f"comma-separated: any of {', '.join(words)}")
        action.completer = from_list(words)
    p.add_argument(
        "--rounds",
        type=integer(1, 10_000),
        metavar="N",
        default=BenchConfig.rounds,
        help="the fewest rounds, in each of which every contender takes a turn",
    )
    p.add_argument(
        "--most-rounds",
        type=integer(1, 10_000),
        metavar="N",
        default=BenchConfig.most_rounds,
        help="the most rounds of train and generate, which go on until the median of each is known to 5 %%",
    )
    add_threads(p, "threads of each contender")
    p.add_argument(
        "--against",
        metavar="NAMES",
        help=f"comma-separated: any of {', '.join(PEERS)}, in an environment of their own; torch is PyTorch eager with "
        "transformers and PEFT; torch-compiled is for train, and llama.cpp for generate at smollm2's shape",
    ).completer = from_list(PEERS)
    p.add_argument(
        "--peer-python", metavar="FILE", help="the Python of that environment (default: the one in .venv-torch)"
    )
    add_device(p)
    add_seed(p, "for weights and token ids")
    p.add_argument(
        "--from-results",
        action="store_true",
        help="measure nothing: tables and figures of the bench.json in --out, such as figures/bench",
    )
    p.add_argument("--out", metavar="DIR", default="figures/latest", help="for bench.json and figures")
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Measure, print and draw."""
    from minilora.experiments.bench import figures, report
    from minilora.experiments.bench import run as experiment
    from minilora.experiments.bench.blas import pinned

    if options.from_results:
        refuse(options, options.typed - {"from_results", "out", "json", "quiet"}, "--from-results measures nothing")
        results = figures.read(options.out)
        figures.draw(results, options.out)
        print_json(results) if options.json else print_lines(report.report(results, options.out, table))
        return 0
    device = choose_device(options.device)
    parts = options.parts or [part for part in experiment.PARTS if device == "cpu" or part != "scaling"]
    refuse_unused_options(options, set(parts), device)
    peer = (options.peer_python or experiment.default_peer_python()) if options.against else None
    for said in pinned():
        warn("bench", said)
    config = experiment.BenchConfig(
        parts=tuple(parts),
        shapes=names_in(options.shapes),
        methods=names_in(options.methods),
        rounds=options.rounds,
        most_rounds=options.most_rounds,
        threads=options.threads if options.threads is not None else cores(),
        device=device,
        seed=options.seed,
        against=names_in(options.against or ""),
        peer_python=peer,
    )
    check_output_folder("--out", options.out, {"--peer-python": options.peer_python}, ("bench.json",))
    results = experiment.run(config, options.out, command=options.command)
    figures.draw(results, options.out)
    print_json(results) if options.json else print_lines(report.report(results, options.out, table))
    return 0


def refuse_unused_options(options: argparse.Namespace, parts: set[str], device: str) -> None:
    """Raise a ValueError if an option was typed that none of the parts, or not this device, uses."""
    measured = ", ".join(sorted(parts))
    if not parts & {"train", "memory"}:
        refuse(options, ("methods",), f"{measured} does not use it; it is for train and memory")
    if parts == {"scaling"}:
        refuse(options, ("shapes", "against"), "scaling does not use it; it is for train, generate and memory")
    if parts == {"memory"}:
        refuse(options, ("rounds",), "memory does not use it; it is for train, generate and scaling")
    if not parts & {"train", "generate"}:
        refuse(options, ("most_rounds",), f"{measured} does not use it; it is for train and generate")
    for name, part in (("torch-compiled", "train"), ("llama.cpp", "generate")):
        if name in names_in(options.against or "") and part not in parts:
            raise ValueError(f"--against held {name}, but {measured} does not use it; it is for {part}")
    if options.against is None:
        refuse(options, ("peer_python",), "without --against it is not used")
    if device == "gpu":
        refuse(options, ("threads",), "a GPU is driven by one; it is for --device cpu")
