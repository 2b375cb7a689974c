"""The tables and figures of the paper in small, one module each, and three that it does not have."""

from minilora.experiments.paper import figure2, table2, table4, table5, table6

EXPERIMENTS = {module.EXPERIMENT.name: module.EXPERIMENT for module in (table2, table4, table5, table6, figure2)}


def find_experiment(name):
    """The experiment of a name; ValueError if there is none."""
    if name not in EXPERIMENTS:
        raise ValueError(f"there is no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
