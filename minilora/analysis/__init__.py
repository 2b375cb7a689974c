"""What an adaptation has changed, and how accurate it is."""

from typing import TYPE_CHECKING

from minilora.analysis.amplification import (
    Amplification,
    amplification_factor,
    amplification_table,
    projection_norm,
    random_directions,
    random_projection_norm,
    weight_similarity,
)
from minilora.analysis.chance import (
    random_cosine,
    random_product_norm,
    random_spectrum,
    randomly_turned,
)
from minilora.analysis.changes import Factors, adapter_changes, adapter_factors, delta_weights, weight_changes
from minilora.analysis.intruders import Intruders, intruder_dimensions, intruders_among
from minilora.analysis.lanczos import truncated_svd
from minilora.analysis.low_rank import LowRank, LowRankErrors, low_rank_approximation, low_rank_errors
from minilora.analysis.metrics import accuracy, classification_scores, macro_f1
from minilora.analysis.random_subspaces import (
    random_control,
    random_variance,
    simulated_control,
    z_of_whole,
    z_score,
    z_scores,
)
from minilora.analysis.rank import Elimination, Step, matrix_rank_steps
from minilora.analysis.spectrum import (
    RankMeasures,
    directions_for,
    effective_rank,
    measures_of_spectrum,
    numerical_rank,
    rank_measures,
    singular_values,
    stable_rank,
)
from minilora.analysis.subspace import (
    left_subspace_similarity,
    principal_angles,
    similarity_of_bases,
    subspace_similarity,
)
from minilora.analysis.svd import SVD, factored_svd, shape_of, svd_of
from minilora.moved import names_before

__all__ = [
    "Factors",
    "adapter_factors",
    "adapter_changes",
    "delta_weights",
    "weight_changes",
    "accuracy",
    "macro_f1",
    "classification_scores",
    "Step",
    "Elimination",
    "matrix_rank_steps",
    "singular_values",
    "numerical_rank",
    "stable_rank",
    "effective_rank",
    "directions_for",
    "RankMeasures",
    "rank_measures",
    "measures_of_spectrum",
    "LowRank",
    "low_rank_approximation",
    "LowRankErrors",
    "low_rank_errors",
    "SVD",
    "svd_of",
    "shape_of",
    "factored_svd",
    "truncated_svd",
    "subspace_similarity",
    "left_subspace_similarity",
    "similarity_of_bases",
    "random_control",
    "random_variance",
    "z_of_whole",
    "z_score",
    "z_scores",
    "simulated_control",
    "principal_angles",
    "Amplification",
    "amplification_factor",
    "amplification_table",
    "projection_norm",
    "random_directions",
    "random_projection_norm",
    "weight_similarity",
    "Intruders",
    "intruder_dimensions",
    "intruders_among",
    "random_product_norm",
    "random_spectrum",
    "random_cosine",
    "randomly_turned",
]

if not TYPE_CHECKING:
    __getattr__ = names_before(__name__)
