"""`minilora bench`: speed and memory on this machine."""

import argparse

from minilora.arrays.backend import choose_device
from minilora.arrays.threads import cores
from minilora.cli.options import add_choice, add_device, add_seed, add_threads, integer, names_in, refuse
from minilora.cli.parser import Parser
from minilora.cli.paths import check_output_folder

EXAMPLE = "minilora bench train generate --shapes S1,S2 --against torch"


def add_options(p: Parser) -> None:
    """What is measured, how often, and what it is compared with."""
    from minilora.experiments.bench.run import PARTS, BenchConfig
    from minilora.experiments.bench.shapes import SHAPES

    shapes, methods = BenchConfig.shapes, BenchConfig.methods
    p.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    p.add_argument("--shapes", default=",".join(shapes), help=f"comma-separated: any of {', '.join(SHAPES)}")
    p.add_argument("--methods", default=",".join(methods), help=f"comma-separated: any of {', '.join(methods)}")
    p.add_argument(
        "--rounds",
        type=integer(1, 10_000),
        metavar="N",
        default=BenchConfig.rounds,
        help="rounds, in each of which every contender takes a turn",
    )
    add_threads(p, "threads of each contender")
    add_choice(
        p,
        "--against",
        ("torch",),
        default=None,
        help="compare with PyTorch, transformers and PEFT, in an environment of their own",
    )
    p.add_argument(
        "--peer-python", metavar="FILE", help="the Python of that environment (default: the one in .venv-torch)"
    )
    add_device(p)
    add_seed(p, "for weights and token ids")
    p.add_argument("--out", metavar="DIR", default="figures/latest", help="for bench.json and figures")


def run(options: argparse.Namespace) -> int:
    """Measure, print and draw."""
    from minilora.experiments.bench import report
    from minilora.experiments.bench import run as experiment

    device = choose_device(options.device)
    parts = options.parts or [part for part in experiment.PARTS if device == "cpu" or part != "scaling"]
    refuse_unused_options(options, set(parts), device)
    peer = (options.peer_python or experiment.default_peer_python()) if options.against else None
    config = experiment.BenchConfig(
        parts=tuple(parts),
        shapes=names_in(options.shapes),
        methods=names_in(options.methods),
        rounds=options.rounds,
        threads=options.threads if options.threads is not None else cores(),
        device=device,
        seed=options.seed,
        peer_python=peer,
    )
    check_output_folder("--out", options.out, {"--peer-python": options.peer_python}, ("bench.json",))
    results = experiment.run(config, options.out, command=options.command)
    report.draw(results, options.out)
    print(report.report(results, options.out))
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
    if options.against is None:
        refuse(options, ("peer_python",), "without --against it is not used")
    if device == "gpu":
        refuse(options, ("threads",), "a GPU is driven by one; it is for --device cpu")
