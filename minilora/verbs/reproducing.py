"""`minilora reproduce`."""

from contextlib import nullcontext
from pathlib import Path

from minilora.arrays.threads import cores


def reproduce(options):
    from minilora.experiments.experiment import report
    from minilora.experiments.experiment import reproduce as run_experiment
    from minilora.experiments.figures_page import write_page
    from minilora.experiments.paper import EXPERIMENTS, find_experiment
    from minilora.experiments.sweep import Sweep

    if options.names == ["list"]:
        width = max(map(len, EXPERIMENTS))
        print("\n".join(f"{name:<{width}}  {e.title}" for name, e in EXPERIMENTS.items()))
        return
    names = list(EXPERIMENTS) if options.names == ["all"] else options.names
    experiments = [find_experiment(name) for name in names]
    if options.device == "gpu":
        raise ValueError("--device was gpu; experiments run on the CPU, one run on each core")
    if options.seed:
        raise ValueError(f"--seed was {options.seed}; each experiment has seeds of its own, and says which")
    quick = "-quick" if options.quick else ""
    out = Path(options.out if options.out is not None else f"figures/latest{quick}")
    runs = Path(options.runs if options.runs is not None else f"runs/reproduce{quick}")
    with executor_of(options) as executor:
        if options.ranks.rank:
            return  # on entering the context, it worked for the first rank, until there was nothing left
        sweep = Sweep(runs, executor)
        for experiment in experiments:
            record = run_experiment(experiment, out, sweep, quick=options.quick, command=options.command)
            print(report(experiment, record), "\n", flush=True)
    if not options.quick:
        write_page(out)
    print(f"in {out}: a .json and a .png of each{'' if options.quick else ', and README.md'}")


def executor_of(options):
    """A context with what does the runs: --executor, with --workers; None if they are done here, one after another."""
    from minilora.experiments.sweep import Processes

    workers, ranks = options.workers, options.ranks
    if options.executor == "mpi":
        if ranks.size == 1:
            raise ValueError("--executor was mpi, which takes two ranks or more: mpiexec -n 4 minilora reproduce ...")
        if workers is not None:
            raise ValueError(f"--workers was {workers}; with --executor mpi, all ranks but the first are workers")
        return ranks.executor()
    if ranks.size > 1:
        raise ValueError(f"--executor was process, but of {ranks.size} ranks; they share runs with --executor mpi")
    workers = workers if workers is not None else cores()
    if workers < 1:
        raise ValueError(f"--workers was {workers}; it may be an integer of at least 1")
    return Processes(workers) if workers > 1 else nullcontext()
