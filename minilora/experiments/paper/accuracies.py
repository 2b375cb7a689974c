"""Claims about accuracies, of settings that are compared on one or several tasks."""

from statistics import mean

from minilora.experiments.verdicts import no_worse, paired

FLOOR = 0.02  # an accuracy at which settings are as good only because none has learned the task
NO_WORSE = no_worse(2.0, "points", "less than the 3.3 that the paper calls significantly lower (table 5, W_q)")


def on_each_task(pairs):
    """`Claim.compare` for accuracies: on each task, how many points the first of each pair is above the second.

    Parameters
    ----------
    pairs : callable
        ``pairs(rows) -> list``, given a task's rows by label, of pairs of labels. A tuple of labels stands for the mean
        of their accuracies.
    """

    def compare(results):
        found, reached = [], []
        for task, task_results in results["tasks"].items():
            rows = task_results["methods"]
            for first, second in pairs(rows):
                if any(label not in rows for label in (*labels_of(first), *labels_of(second))):
                    return None
                values = accuracies(rows, first), accuracies(rows, second)
                reached += [value for of_one in values for value in of_one]
                found.append(paired(f"{task}, {named(first)} against {named(second)}", *values, factor=100))
        if found and (max(reached) < FLOOR or min(reached) > 1 - FLOOR):
            return f"all of them are within {100 * FLOOR:g} % of 0 or of 100 %, where nothing can be told apart"
        return found or None

    return compare


def above_baselines(label, baselines):
    """`Claim.compare` for accuracies: on each task, how many points a setting is above each of these baselines."""

    def compare(results):
        return [
            paired(f"{task}, {label} against {name}", values, [found["baselines"][name]["accuracy"]] * len(values), 100)
            for task, found in results["tasks"].items()
            for values in [accuracies(found["methods"], label)]
            for name in baselines
        ]

    return compare


def labels_of(one_or_more):
    """A label, or several, as a tuple."""
    return (one_or_more,) if isinstance(one_or_more, str) else tuple(one_or_more)


def named(one_or_more):
    """A label, or several, in words."""
    return one_or_more if isinstance(one_or_more, str) else f"the mean of ({'; '.join(one_or_more)})"


def accuracies(rows, one_or_more):
    """The accuracy of each seed, or its mean over several rows."""
    columns = zip(*(rows[label]["accuracy"]["values"] for label in labels_of(one_or_more)), strict=True)
    return [mean(values) for values in columns]
