"""What `classify` says of its results: a table in text, and a figure."""

from minilora.experiments.text_table import aligned

METRICS = ("accuracy", "macro_f1")


def report(results):
    """The results as a table in text, best method last, under the command that made them.

    Parameters
    ----------
    results : dict
        From `classify.run`.
    """
    methods = results["methods"]
    rows = [("", "trainable", "lr", "accuracy, %", "macro-F1, %", "seconds")]
    for name, s in results["baselines"].items():
        scores = (f"{100 * s[metric]:.1f}       " for metric in METRICS)
        rows.append((name, "-", "-", *scores, "-"))
    for label, s in sorted(methods.items(), key=lambda item: item[1]["accuracy"]["mean"] or 0.0):
        if s["lr"] is None:
            rows.append((label, f"{s['trainable']:,}", "-", *("diverged       " for _ in METRICS), "-"))
            continue
        scores = (mean_and_deviation(s[metric]) for metric in METRICS)
        rows.append((label, f"{s['trainable']:,}", f"{s['lr']:g}", *scores, f"{s['seconds']['mean']:.0f}"))
    examples = {split: sum(counts.values()) for split, counts in results["examples"].items()}
    n_seeds, head = len(results["config"]["seeds"]), max(s["head"] for s in methods.values())
    diverged = [line for label, s in methods.items() for line in what_diverged(label, s)]
    return "\n".join(
        [
            *([f"$ {results['command']}", ""] if results["command"] else []),
            f"{results['task']['name']}: {examples['train']:,} examples in train, {examples['valid']:,} in valid, "
            f"{examples['test']:,} in test.",
            f"Test scores as mean ± standard deviation of {n_seeds} seeds; the head's {head:,} are not counted.",
            "",
            *aligned(rows),
            *(["", *diverged] if diverged else []),
        ]
    )


def mean_and_deviation(score):
    """A score in percent as text."""
    deviation = "   -" if score["std"] is None else f"{100 * score['std']:4.1f}"
    return f"{100 * score['mean']:.1f} ± {deviation}"


def what_diverged(label, s):
    """A line for the learning rates, and one for the seeds, with which a method's loss became infinite."""
    rates = [f"{lr:g}" for lr, accuracy in s["valid_accuracy_by_lr"] if accuracy is None]
    if s["lr"] is None:
        return [f"{label}: the loss became infinite at every rate ({', '.join(rates)}), so there is no score."]
    lines = [f"{label}: the loss became infinite at {', '.join(rates)}."] if rates else []
    if s["seeds_diverged"]:
        seeds = f"{s['seeds_diverged']} of {s['seeds']} seeds"
        lines.append(f"{label}: with {seeds} the loss became infinite at {s['lr']:g}; the scores are of the others.")
    return lines


def draw(results, path):
    """Accuracy against trainable parameters, beside the baselines. A method without a score is left out."""
    from minilora import plots

    methods = {
        label: (s["trainable"], [100 * value for value in s["accuracy"]["values"]])
        for label, s in results["methods"].items()
        if s["accuracy"]["values"]
    }
    levels = {name: 100 * scores["accuracy"] for name, scores in results["baselines"].items()}
    plots.save(plots.scores(methods, levels), path)
