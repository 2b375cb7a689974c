"""Settings compared on equal terms: the same number of learning rates for each to choose from, and the same seeds.

With the first seed, each setting is trained at each of its rates, and keeps the one with the best score on valid; with
the other seeds it is trained at that rate only. A rate at which training diverges is never chosen. Nothing is chosen by
a score on test.
"""

from dataclasses import replace
from statistics import mean, stdev


def best_of_rates(sweep, function, settings, rates, *, seeds, score, model):
    """Train with each of the settings, at the best of its learning rates.

    Parameters
    ----------
    sweep : Sweep
    function : callable
        One run, see `Sweep`.
    settings : dict of str to dataclass
        By label. Each has a TrainConfig as its field `train`, whose lr and seed are replaced by those below.
    rates : dict of str to sequence of float
        By the same labels: the learning rates to try, the same number for each.
    seeds : sequence of int
        At least two.
    score : callable
        ``score(run) -> float or None``: how good a run is on valid, larger is better; None if it diverged.
    model : str
        The model that the function takes.

    Returns
    -------
    dict of str to dict
        By label: lr, the best of the rates; valid_by_lr, pairs of a rate and its score with the first seed; and runs,
        the result of each seed at the best rate.

    Raises
    ------
    ValueError
        If seeds or rates are not as above; or if training diverged at every rate, or at the best one with another seed.
    """
    first, *others = check_seeds(seeds)
    if len({len(set(rates[label])) for label in settings}) > 1 or not all(rates[label] for label in settings):
        raise ValueError(f"rates was {rates}; it must have the same number of different rates for each label")

    def at(label, lr, seed):
        return replace(settings[label], train=replace(settings[label].train, lr=lr, seed=seed))

    def runs_of(keys):
        return dict(zip(keys, sweep(function, [at(*key) for key in keys], model=model), strict=True))

    runs = runs_of([(label, lr, first) for label in settings for lr in rates[label]])
    scores = {label: {lr: score(runs[label, lr, first]) for lr in rates[label]} for label in settings}
    best = {label: best_rate(label, row) for label, row in scores.items()}
    runs |= runs_of([(label, best[label], seed) for label in settings for seed in others])
    for (label, lr, seed), run in runs.items():
        if lr == best[label] and score(run) is None:
            raise ValueError(f"{label}: training diverged at {lr:g} with seed {seed}; its rates must be lower")
    return {
        label: {
            "lr": lr,
            "valid_by_lr": list(scores[label].items()),
            "runs": [runs[label, lr, seed] for seed in (first, *others)],
        }
        for label, lr in best.items()
    }


def best_rate(label, scores):
    """The learning rate with the largest of the scores, a dict; None stands for no score."""
    finite = {lr: score for lr, score in scores.items() if score is not None}
    if not finite:
        raise ValueError(f"{label}: training diverged at every rate: {', '.join(f'{lr:g}' for lr in scores)}")
    return max(finite, key=finite.get)


def check_seeds(seeds):
    """`seeds`, if they are two or more, all different; otherwise there is no spread, and a ValueError is raised."""
    if len(set(seeds)) < max(2, len(seeds)):
        raise ValueError(f"seeds was {seeds!r}; it must be at least 2 different numbers")
    return seeds


def mean_and_spread(values):
    """A dict of mean, standard deviation (of a sample: n - 1) and values, for JSON; ValueError if fewer than two."""
    if len(values) < 2:
        raise ValueError(f"values was {values!r}; a spread needs at least 2")
    return {"mean": mean(values), "std": stdev(values), "values": values}


def plus_minus(score, digits=1, factor=1):
    """A score from `mean_and_spread` as text; a factor of 100 turns a fraction into percent."""
    return f"{factor * score['mean']:.{digits}f} ± {factor * score['std']:.{digits}f}"


def rate(row):
    """The learning rate `lr` of a row as text, with a mark if it is the lowest or highest of `valid_by_lr`."""
    tried = [lr for lr, _ in row["valid_by_lr"]]
    return f"{row['lr']:g}" + ("*" if len(tried) > 1 and row["lr"] in (min(tried), max(tried)) else " ")
