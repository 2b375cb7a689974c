"""`minilora bench` and `count`."""

import minilora
from minilora.arrays.backend import choose_device
from minilora.arrays.threads import cores
from minilora.verbs.opening import names_in


def bench(options):
    from minilora.experiments.bench import report
    from minilora.experiments.bench import run as experiment

    device = choose_device(options.device)
    parts = options.parts or [part for part in experiment.PARTS if device == "cpu" or part != "scaling"]
    peer = (options.peer_python or experiment.default_peer_python()) if options.against else None
    config = experiment.BenchConfig(
        parts=tuple(parts),
        shapes=names_in(options.shapes),
        methods=names_in(options.methods),
        rounds=options.rounds,
        threads=options.threads or cores(),
        device=device,
        seed=options.seed,
        peer_python=peer,
    )
    results = experiment.run(config, options.out, command=options.command)
    report.draw(results, options.out)
    print(report.report(results, options.out))


def count(options):
    from minilora.accounting import Settings, architecture_of, count_parameters, find_architecture
    from minilora.experiments import count_report as report

    if (options.architecture is None) == (options.model is None):
        raise ValueError("count takes either an architecture (`minilora count list` names them) or --model FILE")
    if options.architecture == "list":
        print(report.list_report())
        return
    if options.architecture == "published":
        print(report.published_report())
        return
    if options.model is None:
        name, architecture = options.architecture, find_architecture(options.architecture)
    else:
        model = minilora.load_model(options.model, device=options.device)
        name, architecture = options.model, architecture_of(model.config)
        holds = count_parameters(model).total
        head = holds - count_parameters(getattr(model, "encoder", model)).total
        print(f"{name} holds {holds:,} parameters" + (f", {head:,} of them in its head" if head else ""))
    settings = {key: getattr(options, key) for key in Settings.__dataclass_fields__}
    settings["targets"] = names_in(options.targets)
    print(
        report.architecture_report(
            name,
            architecture,
            options.method,
            settings,
            batch_size=options.batch_size,
            length=options.length if options.length is not None else min(512, architecture.longest),
            optimizer=options.optimizer,
        )
    )
