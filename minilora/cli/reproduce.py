"""`minilora reproduce`: small versions of the paper's tables and figures."""

import argparse
from contextlib import nullcontext
from pathlib import Path

from minilora.arrays.threads import cores
from minilora.cli.opening import open_decoder
from minilora.cli.options import MODEL_HELP, add_choice, add_json, integer, refuse
from minilora.cli.parser import Parser
from minilora.cli.paths import check_folder
from minilora.cli.printing import narrowed, print_json, wrapped

BUNDLED = "bundled"  # the bundled model that each experiment names
EXAMPLE = "minilora reproduce table6 --quick"


def add_options(p: Parser) -> None:
    """Which experiments, who does the runs, and where they are saved."""
    p.add_argument("names", nargs="+", metavar="NAME", help="such as table6; list: show the names; all: every one")
    p.add_argument(
        "--model",
        metavar="MODEL",
        default=BUNDLED,
        help=f"the base: bundled, or, for some experiments, another decoder: {MODEL_HELP}",
    )
    p.add_argument("--quick", action="store_true", help="in minutes, to see it work; the numbers then mean nothing")
    p.add_argument(
        "--from-results",
        action="store_true",
        help="run nothing: make tables, verdicts, figures and page from the results in --out, such as figures",
    )
    p.add_argument("--workers", type=integer(1, 1024), metavar="N", help="runs at a time (default: one for each core)")
    add_choice(
        p,
        "--executor",
        ("process", "mpi"),
        default="process",
        help="who does the runs: processes of this machine, or the other ranks of mpiexec",
    )
    p.add_argument(
        "--out",
        metavar="DIR",
        help="for results, figures and their page (default: figures/latest); each --model has a folder in it",
    )
    p.add_argument("--runs", metavar="DIR", help="where finished runs are kept (default: runs/reproduce)")
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Run the experiments, reusing saved runs; print their tables and claims."""
    from minilora import plots
    from minilora.experiments.drawing import figure_of
    from minilora.experiments.experiment import hours, report
    from minilora.experiments.experiment import reproduce as run_experiment
    from minilora.experiments.figures_page import full_record, write_page
    from minilora.experiments.paper import EXPERIMENTS
    from minilora.experiments.paper.bases import base_of
    from minilora.experiments.sweep import Sweep

    if options.names == ["list"]:
        refuse(
            options,
            options.typed - {"names", "json", "quiet"},
            "`minilora reproduce list` does not use it; it needs an experiment",
        )
        if options.json:
            print_json({name: experiment.title for name, experiment in EXPERIMENTS.items()})
            return 0
        width = max(map(len, EXPERIMENTS)) + 2
        for name, experiment in EXPERIMENTS.items():
            print("\n".join(wrapped(experiment.title, f"{name:<{width}}", " " * width)))
        return 0
    experiments = chosen(options.names, options.model)
    base = None if options.model == BUNDLED else base_of(open_decoder(options.model))
    place = "" if base is None else base.label
    quick = "-quick" if options.quick else ""
    out = Path(options.out if options.out is not None else f"figures/latest{quick}")
    runs = Path(options.runs if options.runs is not None else f"runs/reproduce{quick}")
    check_folder("--out", str(out))
    check_folder("--runs", str(runs))
    if options.from_results:
        refuse(options, ("quick", "workers", "executor", "runs"), "--from-results runs nothing")
        there = [e for e in experiments if options.names != ["all"] or (out / place / f"{e.name}.json").exists()]
        records = {e.name: full_record(e.name, out / place) for e in there}
        for experiment in there:
            plots.save(figure_of(experiment, records[experiment.name]), out / place / f"{experiment.name}.png")
        write_page(out)
        if options.json:
            print_json(records)
            return 0
        for experiment in there:
            print("\n".join(narrowed(report(experiment, records[experiment.name]).splitlines())), "\n")
        print(f"in {out}: README.md")
        return 0
    with executor_of(options) as executor:
        if options.ranks.rank:
            return 0  # entering the context made it work for the first rank until nothing was left
        sweep, records, took = Sweep(runs / place, executor, progress=not options.quiet), {}, {}
        for experiment in experiments:
            record = run_experiment(
                experiment, out / place, sweep, quick=options.quick, command=options.command, base=base
            )
            records[experiment.name], took = record, took | sweep.took
            if not options.json:
                print("\n".join(narrowed(report(experiment, record).splitlines())), "\n", flush=True)
    if not options.quick:
        write_page(out)
    if options.json:
        print_json(records)
        return 0
    if took and (of_one_core := hours(took)) is not None:
        print(f"in {runs / place}: {len(took):,} runs, {of_one_core:.1f} hours of one core")
    print(f"in {out / place}: a .json and a .png of each")
    if not options.quick:
        print(f"in {out}: README.md, with all of them")
    return 0


def chosen(names: list[str], model: str) -> list:
    """The experiments of these names, all of which can run on the model."""
    from minilora.experiments.paper import EXPERIMENTS, find_experiment

    able = [name for name, experiment in EXPERIMENTS.items() if model == BUNDLED or experiment.on]
    experiments = [find_experiment(name) for name in (able if names == ["all"] else names)]
    for experiment in experiments:
        if experiment.name not in able:
            raise ValueError(
                f"--model was {model}, but {experiment.name} runs on the bundled model only; on another decoder there "
                f"are {', '.join(able)}"
            )
    return experiments


def executor_of(options: argparse.Namespace):
    """A context with the executor of the runs: --executor with --workers; None to do them here, one after another."""
    from minilora.experiments.sweep import Processes

    workers, ranks = options.workers, options.ranks
    if options.executor == "mpi":
        if ranks.size == 1:
            raise ValueError("--executor was mpi, which needs two ranks or more: mpiexec -n 4 minilora reproduce ...")
        refuse(options, ("workers",), "--executor mpi does not use it: all ranks but the first are workers")
        return ranks.executor()
    if ranks.size > 1:
        raise ValueError(f"--executor was process, but {ranks.size} ranks were started; it must be mpi")
    workers = workers if workers is not None else cores()
    return Processes(workers) if workers > 1 else nullcontext()
