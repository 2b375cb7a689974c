"""Small-scale versions of the paper's tables and figures, one module each, and ten that it does not have."""

from minilora.experiments.paper import (
    along_training,
    budget,
    delta_rank,
    family,
    figure2,
    figure3,
    figure4,
    figure8,
    forgetting,
    gradients,
    intrinsic_dimension,
    learning_rates,
    policy_gradient,
    regret,
    table1,
    table2,
    table3,
    table4,
    table5,
    table6,
    table7,
    table18,
)

MODULES = (
    table1,
    table2,
    table3,
    table4,
    table5,
    table6,
    table18,
    figure2,
    figure3,
    figure4,
    table7,
    figure8,
    delta_rank,
    along_training,
    intrinsic_dimension,
    gradients,
    forgetting,
    learning_rates,
    budget,
    regret,
    policy_gradient,
    family,
)
EXPERIMENTS = {module.EXPERIMENT.name: module.EXPERIMENT for module in MODULES}


def find_experiment(name):
    """The experiment of a name; ValueError if there is none."""
    if name not in EXPERIMENTS:
        raise ValueError(f"there is no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
