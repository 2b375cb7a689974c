"""What an adaptation costs: parameters, memory, operations, messages; and every count printed in the paper."""

from minilora.accounting.adaptations import METHODS, Adaptation, Settings, adaptation
from minilora.accounting.architectures import ARCHITECTURES, Architecture, architecture_of, find_architecture
from minilora.accounting.communication import message_bytes, ring_bytes, ring_seconds
from minilora.accounting.costs import (
    Flops,
    MemoryEstimate,
    checkpoint_bytes,
    flops_per_token,
    memory_estimate,
    step_estimate,
)
from minilora.accounting.parameters import ParameterCount, count_parameters
from minilora.accounting.published import PUBLISHED, Published

__all__ = [
    "ParameterCount",
    "count_parameters",
    "METHODS",
    "Adaptation",
    "Settings",
    "adaptation",
    "ARCHITECTURES",
    "Architecture",
    "architecture_of",
    "find_architecture",
    "message_bytes",
    "ring_bytes",
    "ring_seconds",
    "Flops",
    "MemoryEstimate",
    "checkpoint_bytes",
    "flops_per_token",
    "memory_estimate",
    "step_estimate",
    "PUBLISHED",
    "Published",
]
