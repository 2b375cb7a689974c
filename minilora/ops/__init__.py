"""The page: the mathematics and nothing else, one op a file, each a pair ``f_forward``, ``f_backward``.

    y, cache = f_forward(*arrays, **python_scalars)
    grads = f_backward(dy, cache)

A backward returns a gradient for each differentiable array argument, in argument order, with its shape and dtype; a
single one is returned bare. Caches are NamedTuples. No argument is modified. Float32 in, float32 out.

`ops/fast/` is the engine: the same functions, as fast as we can make them. Layers call the engine, and a test keeps
each pair equal. ``with plain_ops():`` makes layers call the page instead.
"""

from typing import TYPE_CHECKING

from minilora.moved import names_before
from minilora.ops.adalora_linear import AdaLoRALinearCache, adalora_linear_backward, adalora_linear_forward
from minilora.ops.adamw import adamw_inplace
from minilora.ops.attention import AttentionCache, attention_backward, attention_forward
from minilora.ops.conv1d import Conv1dCache, conv1d_backward, conv1d_forward
from minilora.ops.cross_entropy import CrossEntropyCache, check_targets, cross_entropy_backward, cross_entropy_forward
from minilora.ops.disentangled_attention import (
    DisentangledAttentionCache,
    disentangled_attention_backward,
    disentangled_attention_forward,
)
from minilora.ops.dora_linear import (
    DoRALinearCache,
    dora_linear_backward,
    dora_linear_forward,
    dora_norm,
    row_norm,
)
from minilora.ops.double_quantization import QuantizedScales, dequantize_scales, dynamic_levels, quantize_scales
from minilora.ops.dropout import DropoutCache, dropout_backward, dropout_forward, dropout_mask
from minilora.ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from minilora.ops.galore import galore_back, galore_project, galore_projector
from minilora.ops.gelu import (
    GeluCache,
    gelu_exact_backward,
    gelu_exact_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
)
from minilora.ops.gguf_blocks import dequantize_q4_1, dequantize_q8_0, quantize_q4_1, quantize_q8_0
from minilora.ops.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from minilora.ops.linear import LinearCache, linear_backward, linear_forward
from minilora.ops.linear_cross_entropy import (
    LinearCrossEntropyCache,
    linear_cross_entropy_backward,
    linear_cross_entropy_forward,
)
from minilora.ops.linear_rows import LinearRowsCache, linear_rows_backward, linear_rows_forward
from minilora.ops.log_buckets import log_bucket, relative_rows
from minilora.ops.lora_embedding import LoRAEmbeddingCache, lora_embedding_backward, lora_embedding_forward
from minilora.ops.lora_fa_linear import LoRAFALinearCache, lora_fa_linear_backward, lora_fa_linear_forward
from minilora.ops.lora_linear import LoRALinearCache, lora_linear_backward, lora_linear_forward
from minilora.ops.nf4 import dequantize_nf4, nearest_levels, nf4_levels, quantize_nf4
from minilora.ops.orthogonality import OrthogonalityCache, orthogonality_backward, orthogonality_forward
from minilora.ops.plain import plain_ops
from minilora.ops.policy_gradient import (
    episode_weights,
    leave_one_out,
    policy_gradient_backward,
    policy_gradient_forward,
)
from minilora.ops.prefix import PrefixCache, prefix_backward, prefix_forward
from minilora.ops.random_subspace import RandomSubspaceCache, random_subspace_backward, random_subspace_forward
from minilora.ops.relu import ReluCache, relu_backward, relu_forward
from minilora.ops.rescale import RescaleCache, rescale_backward, rescale_forward
from minilora.ops.rmsnorm import RMSNormCache, rmsnorm_backward, rmsnorm_forward
from minilora.ops.rope import RopeCache, rope_backward, rope_forward
from minilora.ops.rope_table import Llama3Scaling, rope_frequencies, rope_table
from minilora.ops.rows import rows
from minilora.ops.silu import SiluCache, silu_backward, silu_forward
from minilora.ops.silu_gate import SiluGateCache, silu_gate_backward, silu_gate_forward
from minilora.ops.softmax import SoftmaxCache, softmax_backward, softmax_forward
from minilora.ops.take_rows import TakeRowsCache, take_rows_backward, take_rows_forward
from minilora.ops.tanh import TanhCache, tanh_backward, tanh_forward
from minilora.ops.vera_linear import VeRALinearCache, vera_linear_backward, vera_linear_forward

__all__ = [
    "QuantizedScales",
    "dequantize_scales",
    "dynamic_levels",
    "quantize_scales",
    "dequantize_q4_1",
    "dequantize_q8_0",
    "quantize_q4_1",
    "quantize_q8_0",
    "dequantize_nf4",
    "nearest_levels",
    "nf4_levels",
    "quantize_nf4",
    "adamw_inplace",
    "AdaLoRALinearCache",
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
    "LinearRowsCache",
    "Llama3Scaling",
    "LoRAEmbeddingCache",
    "LoRAFALinearCache",
    "LoRALinearCache",
    "OrthogonalityCache",
    "PrefixCache",
    "RandomSubspaceCache",
    "RescaleCache",
    "RMSNormCache",
    "ReluCache",
    "RopeCache",
    "SiluCache",
    "SiluGateCache",
    "SoftmaxCache",
    "TakeRowsCache",
    "TanhCache",
    "VeRALinearCache",
    "adalora_linear_backward",
    "adalora_linear_forward",
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
    "galore_back",
    "galore_project",
    "galore_projector",
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
    "linear_rows_backward",
    "linear_rows_forward",
    "log_bucket",
    "lora_embedding_backward",
    "lora_embedding_forward",
    "lora_fa_linear_backward",
    "lora_fa_linear_forward",
    "lora_linear_backward",
    "lora_linear_forward",
    "orthogonality_backward",
    "orthogonality_forward",
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
    "rescale_backward",
    "rescale_forward",
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
    "vera_linear_backward",
    "vera_linear_forward",
]

if not TYPE_CHECKING:
    __getattr__ = names_before(__name__)
