"""What an adaptation has changed, what it costs, and how right it is."""

from minilora.analysis.accounting import ParameterCount, count_parameters
from minilora.analysis.changes import Factors, adapter_factors, delta_weights, weight_changes
from minilora.analysis.metrics import accuracy, classification_scores, macro_f1
from minilora.analysis.subspace import (
    SVD,
    factored_svd,
    random_control,
    similarity_of_bases,
    subspace_similarity,
)

__all__ = [
    "ParameterCount",
    "count_parameters",
    "Factors",
    "adapter_factors",
    "delta_weights",
    "weight_changes",
    "accuracy",
    "macro_f1",
    "classification_scores",
    "SVD",
    "factored_svd",
    "subspace_similarity",
    "similarity_of_bases",
    "random_control",
]
