"""What an adaptation has changed, what it costs, and how right it is."""

from minilora.analysis.accounting import ParameterCount, count_parameters
from minilora.analysis.adaptations import METHODS, Adaptation, Settings, adaptation
from minilora.analysis.architectures import ARCHITECTURES, Architecture, architecture_of, find_architecture
from minilora.analysis.changes import Factors, adapter_factors, delta_weights, weight_changes
from minilora.analysis.costs import Flops, MemoryEstimate, checkpoint_bytes, flops_per_token, memory_estimate
from minilora.analysis.metrics import accuracy, classification_scores, macro_f1
from minilora.analysis.published import PUBLISHED, Published
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
    "ARCHITECTURES",
    "Architecture",
    "architecture_of",
    "find_architecture",
    "METHODS",
    "Adaptation",
    "Settings",
    "adaptation",
    "Flops",
    "flops_per_token",
    "MemoryEstimate",
    "checkpoint_bytes",
    "memory_estimate",
    "PUBLISHED",
    "Published",
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
