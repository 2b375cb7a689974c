"""`minilora reproduce`."""

from contextlib import nullcontext
from pathlib import Path

from minilora.threads import cores


def reproduce(options):
    from minilora.experiments.experiment import report
    from minilora.experiments.experiment import reproduce as run_experiment
    from minilora.experiments.figures_page import write_page
    from minilora.experiments.paper import EXPERIMENTS, find_experiment
    from minilora.experiments.sweep import Sweep, processes

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
    workers = options.workers if options.workers is not None else cores()
    if workers < 1:
        raise ValueError(f"--workers was {workers}; it may be an integer of at least 1")
    quick = "-quick" if options.quick else ""
    out = Path(options.out if options.out is not None else f"figures/latest{quick}")
    runs = Path(options.runs if options.runs is not None else f"runs/reproduce{quick}")
    with processes(workers) if workers > 1 else nullcontext() as executor:
        sweep = Sweep(runs, executor)
        for experiment in experiments:
            record = run_experiment(experiment, out, sweep, quick=options.quick, command=options.command)
            print(report(experiment, record), "\n", flush=True)
    if not options.quick:
        write_page(out)
    print(f"in {out}: a .json and a .png of each{'' if options.quick else ', and README.md'}")
