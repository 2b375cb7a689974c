"""`minilora rank` and `subspace`."""

from pathlib import Path

import minilora
from minilora.arrays.backend import to_numpy
from minilora.methods import lora_layers, remove_lora
from minilora.verbs.opening import check_file, names_in, open_model


def rank(options):
    from minilora.analysis import adapter_changes, rank_measures
    from minilora.experiments import rank_report as report

    if options.plot is not None:
        check_file(options.plot, "ranks.png")
    if options.adapter is None and options.tuned is None and not options.weights:
        rank_of_matrix(options)
        return
    found = {}
    if options.weights:
        found["W"] = weights_of(open_model(options, options.adapter))
    if options.adapter is not None:
        found["LoRA"] = adapter_changes(open_lora(options, options.adapter))
    if options.tuned is not None:
        found["full fine-tuning"] = changes_of_tuning(options)
    found = {label: chosen(matrices, options.layers) for label, matrices in found.items()}
    measured = {label: rank_measures(matrices, options.share / 100) for label, matrices in found.items()}
    figure = None if options.plot is None else rank_figure(found, measured, options.share / 100)
    for label, matrices in found.items():
        print(report.ranks_report(label, matrices, measured[label], options.share) + "\n")
    if figure is not None:
        save_figure(figure, options.plot, f"the directions that carry {options.share:g} % of each matrix")


def rank_of_matrix(options):
    """The rank of the small matrix on the command line."""
    from minilora.analysis import matrix_rank_steps
    from minilora.experiments import rank_report as report

    if options.layers is not None:
        raise ValueError("--layers was given; it needs --weights, --adapter or --tuned, which have layers")
    M = [row.split(",") for row in options.matrix.split(";")]
    figure = None
    if options.plot is not None:
        from minilora import plots

        figure = plots.elimination(matrix_rank_steps(M))
    print(report.elimination_report(M))
    if figure is not None:
        save_figure(figure, options.plot, "the elimination, step by step")


def rank_figure(found, measured, share):
    """The ranks of all matrices; or, if there is one only, how its spectrum is cut for the share."""
    from minilora import plots
    from minilora.analysis import low_rank_approximation, low_rank_errors
    from minilora.analysis.changes import as_array

    (label, matrices), *others = found.items()
    if others or len(matrices) > 1:
        return plots.ranks(measured, share=share)
    ((path, M),) = matrices.items()
    r = measured[label][path].directions
    if r == 0:
        raise ValueError(f"{path} is zero; there is nothing to draw")
    return plots.low_rank(as_array(M), low_rank_approximation(M, r), low_rank_errors(M))


def save_figure(figure, path, what):
    """Write a figure, and say what it shows."""
    from minilora import plots

    plots.save(figure, path)
    print(f"{path}: {what}")


def weights_of(model):
    """The weight matrices of a model without its LoRA adapter, by the path of the layer."""
    remove_lora(model)
    weights = {name: to_numpy(p.data) for name, p in model.named_parameters()}
    return {name.removesuffix(".W"): W for name, W in weights.items() if W.ndim == 2}


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
        if options.other is None:
            figure = subspaces.weight_figure(model, changes, r, rng=rng)
        else:
            figure = subspaces.similarity_figure(changes, similarities, options.of, rng=rng)
        save_figure(figure, options.plot, "phi(i, j), and what random matrices give")


def chosen(changes, layers):
    """What --layers names, by its path or the end of it; all, if it was not given."""
    if layers is None:
        return changes
    endings = tuple(f".{name}" for name in names_in(layers))
    found = {path: change for path, change in changes.items() if f".{path}".endswith(endings)}
    if not found:
        raise ValueError(f"--layers was {layers!r}; there are {', '.join(changes)}")
    return found
