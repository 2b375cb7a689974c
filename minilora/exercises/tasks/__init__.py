"""The tasks, one module per exercise: each has the right functions, the points at which they are called, what is
compared, and a table of mutants."""

from minilora.exercises.tasks import (
    adamw_step,
    amplification_factor,
    attention_backward,
    cross_entropy_backward,
    dora_backward,
    layernorm,
    linear_backward,
    lora_linear_backward,
    lora_linear_forward,
    lora_start,
    merging,
    numerical_gradient,
    parameter_counting,
    peft_export,
    softmax_backward,
    subspace_similarity,
)

TASKS = {
    "linear_backward": linear_backward.TASK,
    "lora_linear_forward": lora_linear_forward.TASK,
    "parameter_counting": parameter_counting.TASK,
    "numerical_gradient": numerical_gradient.TASK,
    "softmax_backward": softmax_backward.TASK,
    "cross_entropy_backward": cross_entropy_backward.TASK,
    "lora_start": lora_start.TASK,
    "merging": merging.TASK,
    "lora_linear_backward": lora_linear_backward.TASK,
    "adamw_step": adamw_step.TASK,
    "subspace_similarity": subspace_similarity.TASK,
    "amplification_factor": amplification_factor.TASK,
    "peft_export": peft_export.TASK,
    "layernorm": layernorm.TASK,
    "attention_backward": attention_backward.TASK,
    "dora_backward": dora_backward.TASK,
}
