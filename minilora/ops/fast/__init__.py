"""The engine: the functions of the page, `ops/`, under the same contract, as fast as we can make them.

On a CPU that means products of rows, sums in place, and chunks that fit the processor's cache; on a GPU, CUDA kernels.
The derivations are on the page. Functions that are fast enough on the page are used from there.

What is frozen costs nothing. A layer leaves it out of the cache, and where a cache leaves something out, the backward
gives None for a gradient:

    linear       cache._replace(x=None)            no dW        bias=None              no dbias
    layernorm    cache._replace(frozen=("gain",))  no dgain     frozen=("bias",)       no dbias
    rmsnorm      cache._replace(frozen=("gain",))  no dgain
    conv1d       cache._replace(padded=None)       no dW        bias=None              no dbias
"""

from minilora.ops import (
    Conv1dCache,
    CrossEntropyCache,
    DisentangledAttentionCache,
    DoRALinearCache,
    DropoutCache,
    EmbeddingCache,
    GeluCache,
    LayerNormCache,
    LinearCache,
    LinearCrossEntropyCache,
    Llama3Scaling,
    LoRALinearCache,
    PrefixCache,
    RandomSubspaceCache,
    ReluCache,
    RMSNormCache,
    RopeCache,
    SiluCache,
    SiluGateCache,
    SoftmaxCache,
    TakeRowsCache,
    TanhCache,
    check_targets,
    conv1d_backward,
    conv1d_forward,
    cross_entropy_backward,
    cross_entropy_forward,
    dropout_backward,
    dropout_forward,
    dropout_mask,
    embedding_forward,
    episode_weights,
    gelu_exact_backward,
    gelu_tanh_backward,
    leave_one_out,
    linear_cross_entropy_backward,
    log_bucket,
    plain_ops,
    policy_gradient_backward,
    policy_gradient_forward,
    prefix_forward,
    random_subspace_backward,
    random_subspace_forward,
    relative_rows,
    relu_backward,
    relu_forward,
    rope_frequencies,
    rope_table,
    rows,
    silu_backward,
    take_rows_backward,
    take_rows_forward,
    tanh_backward,
    tanh_forward,
)
from minilora.ops.fast.adamw import adamw_inplace
from minilora.ops.fast.attention import AttentionCache, attention_backward, attention_forward
from minilora.ops.fast.disentangled_attention import disentangled_attention_backward, disentangled_attention_forward
from minilora.ops.fast.dora_linear import dora_linear_backward, dora_linear_forward, dora_norm, row_norm
from minilora.ops.fast.embedding import embedding_backward
from minilora.ops.fast.gelu import gelu_exact_forward, gelu_tanh_forward
from minilora.ops.fast.layernorm import layernorm_backward, layernorm_forward
from minilora.ops.fast.linear import linear_backward, linear_forward
from minilora.ops.fast.linear_cross_entropy import linear_cross_entropy_forward
from minilora.ops.fast.lora_linear import lora_linear_backward, lora_linear_forward
from minilora.ops.fast.prefix import prefix_backward
from minilora.ops.fast.rmsnorm import rmsnorm_backward, rmsnorm_forward
from minilora.ops.fast.rope import rope_backward, rope_forward
from minilora.ops.fast.silu import silu_forward, silu_gate_backward, silu_gate_forward
from minilora.ops.fast.softmax import softmax_backward, softmax_forward

__all__ = [
    "adamw_inplace",
    "AttentionCache",
    "Conv1dCache",
    "CrossEntropyCache",
    "DisentangledAttentionCache",
    "DoRALinearCache",
    "DropoutCache",
    "EmbeddingCache",
    "GeluCache",
    "LayerNormCache",
    "LinearCache",
    "LinearCrossEntropyCache",
    "Llama3Scaling",
    "LoRALinearCache",
    "PrefixCache",
    "RandomSubspaceCache",
    "RMSNormCache",
    "ReluCache",
    "RopeCache",
    "SiluCache",
    "SiluGateCache",
    "SoftmaxCache",
    "TakeRowsCache",
    "TanhCache",
    "attention_backward",
    "attention_forward",
    "check_targets",
    "conv1d_backward",
    "conv1d_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "disentangled_attention_backward",
    "disentangled_attention_forward",
    "dora_linear_backward",
    "dora_linear_forward",
    "dora_norm",
    "dropout_backward",
    "dropout_forward",
    "dropout_mask",
    "embedding_backward",
    "embedding_forward",
    "episode_weights",
    "gelu_exact_backward",
    "gelu_exact_forward",
    "gelu_tanh_backward",
    "gelu_tanh_forward",
    "layernorm_backward",
    "layernorm_forward",
    "leave_one_out",
    "linear_backward",
    "linear_cross_entropy_backward",
    "linear_cross_entropy_forward",
    "linear_forward",
    "log_bucket",
    "lora_linear_backward",
    "lora_linear_forward",
    "plain_ops",
    "policy_gradient_backward",
    "policy_gradient_forward",
    "prefix_backward",
    "prefix_forward",
    "random_subspace_backward",
    "random_subspace_forward",
    "relu_backward",
    "relu_forward",
    "relative_rows",
    "rmsnorm_backward",
    "rmsnorm_forward",
    "rope_backward",
    "rope_forward",
    "rope_frequencies",
    "rope_table",
    "row_norm",
    "rows",
    "silu_backward",
    "silu_forward",
    "silu_gate_backward",
    "silu_gate_forward",
    "softmax_backward",
    "softmax_forward",
    "take_rows_backward",
    "take_rows_forward",
    "tanh_backward",
    "tanh_forward",
]
