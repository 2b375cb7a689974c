"""`minilora rank` and `subspace`."""

from pathlib import Path

import minilora
from minilora.backend import to_numpy
from minilora.methods import lora_layers
from minilora.verbs.opening import check_file, names_in, open_model


def rank(options):
    from minilora.analysis import adapter_changes, rank_measures
    from minilora.experiments import rank_report as report

    if options.adapter is None and options.tuned is None:
        if options.plot is not None:
            raise ValueError("--plot was given; it draws layers, so that --adapter or --tuned has to be given too")
        print(report.elimination_report([row.split(",") for row in options.matrix.split(";")]))
        return
    if options.plot is not None:
        check_file(options.plot, "ranks.png")
    changes = {}
    if options.adapter is not None:
        changes["LoRA"] = adapter_changes(open_lora(options, options.adapter))
    if options.tuned is not None:
        changes["full fine-tuning"] = changes_of_tuning(options)
    counts = {}
    for method, deltas in changes.items():
        measures = rank_measures(deltas, options.share / 100)
        print(report.ranks_report(method, deltas, measures, options.share) + "\n")
        counts[method] = {path: m.directions for path, m in measures.items()}
    if options.plot is not None:
        from minilora import plots

        plots.save(plots.directions_bars(counts, options.share / 100), options.plot)
        print(f"{options.plot}: the directions that carry {options.share:g} % of ||delta W||^2")


def changes_of_tuning(options):
    """delta_W of full fine-tuning, by the path of the layer."""
    from minilora.analysis import weight_changes

    path = Path(options.tuned)
    tuned = minilora.load_model(path / "model.safetensors" if path.is_dir() else path)
    before, after = ({n: to_numpy(p.data) for n, p in m.named_parameters()} for m in (open_model(options), tuned))
    return {name.removesuffix(".W"): delta_W for name, delta_W in weight_changes(before, after).items()}


def open_lora(options, adapter):
    """The model with the LoRA adapter in a file or run folder."""
    model = open_model(options, adapter)
    if not lora_layers(model):
        raise ValueError(f"{adapter} holds no LoRA adapter, which is what has a delta W of low rank")
    return model


def subspace(options):
    import numpy

    from minilora.analysis import adapter_changes
    from minilora.experiments import rank_report as report
    from minilora.experiments import subspaces

    if options.adapter is None:
        raise ValueError("--adapter was not given; it names the adapter to look at")
    if options.other is None and options.of != "delta":
        raise ValueError(f"--of was {options.of}; without --other it is delta, which is compared with W")
    if options.plot is not None:
        check_file(options.plot, "phi.png")
    rng, r = numpy.random.default_rng(options.seed), options.directions
    model = open_lora(options, options.adapter)
    changes = chosen(adapter_changes(model), options.layers)
    if options.other is None:
        print(report.amplification_report(subspaces.beside_weights(model, changes, r, rng=rng)))
    else:
        others = adapter_changes(open_lora(options, options.other))
        similarities = subspaces.beside_another(changes, others, options.of, r)
        print(report.similarity_report(similarities))
    if options.plot is not None:
        from minilora import plots

        if options.other is None:
            figure = subspaces.weight_figure(model, changes, r, rng=rng)
        else:
            figure = subspaces.similarity_figure(changes, similarities, options.of, rng=rng)
        plots.save(figure, options.plot)
        print(f"{options.plot}: phi(i, j), and what random matrices give")


def chosen(changes, layers):
    """The layers that --layers names, by their paths or the ends of these; all, if it was not given."""
    if layers is None:
        return changes
    endings = tuple(f".{name}" for name in names_in(layers))
    found = {path: change for path, change in changes.items() if f".{path}".endswith(endings)}
    if not found:
        raise ValueError(f"--layers was {layers!r}; the adapter has {', '.join(changes)}")
    return found
