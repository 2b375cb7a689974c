"""Room 3: attention, positions, and the gated MLP."""

from typing import Any

from minilora.arrays.backend import get_xp
from minilora.museum import checks
from minilora.museum.exhibit import Exhibit, Slip, known
from minilora.ops import (
    attention_backward,
    attention_forward,
    fast,
    rope_backward,
    rope_forward,
    rope_frequencies,
    rope_table,
    silu_gate_backward,
)

diagonal = known(
    "attention_backward", "the one with dscores = probs (1 - probs) dprobs, the diagonal of softmax's Jacobian alone"
)
without_the_sum = known("attention_backward", "the one with dscores = probs * dprobs: softmax's sum is missing")
last_head = known(
    "grouped_attention_backward",
    "that of the last query head in the group: every head that reads a key or a value adds to its gradient",
)


def seeing_the_future(q: Any, k: Any, v: Any, padding_mask: Any = None, **options: Any) -> Any:
    return attention_forward(q, k, v, padding_mask, **(options | {"causal": False}))


def without_rotation_backward(dy: Any, cache: Any) -> Any:
    return 0.0 * dy


def unscaled_angles(dy: Any, cache: Any) -> Any:
    """Turn back by the angles of unscaled frequencies, at positions 0, 1, ..., T - 1."""
    T, K = dy.shape[-2:]
    cos, sin = rope_table(get_xp(dy).arange(T), rope_frequencies(K, 10000.0), dy.dtype)
    return rope_forward(dy, cos, -sin)[0]


def missing_parentheses(dy: Any, cache: Any) -> Any:
    gate, up = cache
    _, dup = silu_gate_backward(dy, cache)
    e = get_xp(gate).exp(-gate)
    return dy * up * (1.0 + e + gate * e / (1.0 + e) ** 2), dup


def into_row_0(dy: Any, cache: Any) -> Any:
    found = []
    for grad in silu_gate_backward(dy, cache):
        rows = grad.reshape(-1, grad.shape[-1])
        lost = get_xp(rows).zeros_like(rows)
        lost[0] = rows[-1]
        found.append(lost.reshape(grad.shape))
    return tuple(found)


SOFTMAX = "dscores = softmax_backward(dprobs, SoftmaxCache(probs))"
SUM = "dk, dv = (a.reshape(N, G, q.shape[1] // G, T, K).sum(axis=2) for a in (dk_h, dv_h))"
IN_THE_EXERCISE = "dscores = probs * (dprobs - overlap) / np.sqrt(q.shape[-1])"

ROOM = (
    Exhibit(
        name="softmax-diagonal-alone",
        title="Softmax's Jacobian, its diagonal alone",
        link="https://github.com/deeplearning4j/libnd4j/issues/440",
        says="The derivative of softmax was output * (1 - output), the diagonal of its Jacobian: what a score does to "
        "the other probabilities was missing.",
        place=attention_backward,
        right=SOFTMAX,
        wrong="dscores = probs * (1.0 - probs) * dprobs",
        instead=((fast.attention_backward, diagonal),),
        scene="gpt",
        check=checks.of_model("gpt"),
        slip=Slip(
            "attention_backward",
            IN_THE_EXERCISE,
            "dscores = probs * (1 - probs) * dprobs / np.sqrt(q.shape[-1])",
            "the one with dscores = probs (1 - probs) dprobs, the diagonal of softmax's Jacobian alone",
        ),
    ),
    Exhibit(
        name="softmax-without-its-sum",
        title="Softmax's backward, without the sum",
        link="https://github.com/HomericIntelligence/Odyssey/issues/2134",
        says="The backward of softmax failed its gradient check, and the issue takes the sum over the row for what is "
        "missing.",
        place=attention_backward,
        right=SOFTMAX,
        wrong="dscores = probs * dprobs",
        instead=((fast.attention_backward, without_the_sum),),
        scene="gpt",
        check=checks.of_model("gpt"),
        slip=Slip(
            "attention_backward",
            IN_THE_EXERCISE,
            "dscores = probs * dprobs / np.sqrt(q.shape[-1])",
            "the one with dscores = probs * dprobs: softmax's sum is missing",
        ),
    ),
    Exhibit(
        name="group-not-summed",
        title="A group's gradient, not summed",
        link="https://github.com/marin-community/levanter/pull/449",
        says="k and v were broadcast to the query heads of their group in the forward, and flash attention's backward "
        "did not sum their gradients over the group; here, one head's share is all that is kept.",
        place=attention_backward,
        right=SUM,
        wrong="dk, dv = (a.reshape(N, G, q.shape[1] // G, T, K)[:, :, -1] for a in (dk_h, dv_h))",
        instead=((fast.attention_backward, last_head),),
        scene="llama",
        check=checks.of_op("attention"),
        slip=Slip(
            "grouped_attention_backward",
            "dk = dk.reshape(N, G, H // G, T, K).sum(axis=2)",
            "dk = dk.reshape(N, G, H // G, T, K)[:, :, -1]",
            "that of the last query head in the group: every head that reads a key or a value adds to its gradient",
        ),
    ),
    Exhibit(
        name="the-future-is-seen",
        title="A causal mask that was dropped",
        link="https://github.com/huggingface/transformers/issues/48745",
        says="Four decoders lost their causal mask, each position saw the tokens after it, and the training loss fell "
        "to almost zero.",
        place=attention_forward,
        right="sees = xp.tri(T_q, T, k=T - T_q if causal else T, dtype=bool)",
        wrong="sees = xp.tri(T_q, T, k=T, dtype=bool)",
        instead=((fast.attention_forward, seeing_the_future),),
        scene="gpt",
        check=checks.CAUSAL,
    ),
    Exhibit(
        name="rope-without-a-backward",
        title="Queries and keys that got no gradient",
        link="https://github.com/paiml/aprender/pull/2092",
        says="The rotation had no backward, so that the adapter of W_q got no gradient, and only that of W_v, which is "
        "not rotated, was trained.",
        place=rope_backward,
        right="dx, _ = rope_forward(dy, cos, -sin)",
        wrong="dx = 0.0 * dy",
        instead=((fast.rope_backward, without_rotation_backward),),
        scene="llama",
        check=checks.of_op("rope"),
        slip=Slip("rope", "dx = rope_forward(dy, -positions, theta)", "dx = 0.0 * dy", "zero everywhere"),
    ),
    Exhibit(
        name="rope-turned-back-by-other-angles",
        title="RoPE turned back by other angles",
        link="https://github.com/ggml-org/llama.cpp/pull/3974",
        says="When the forward learnt to scale its angles, the backward, a near copy of it, did not, and turned by the "
        "old ones.",
        place=rope_backward,
        right="dx, _ = rope_forward(dy, cos, -sin)",
        wrong="dx, _ = rope_forward(dy, unscaled_cos, -unscaled_sin)",
        instead=((fast.rope_backward, unscaled_angles),),
        scene="llama",
        check=checks.of_op("rope"),
    ),
    Exhibit(
        name="silu-without-parentheses",
        title="SiLU's slope, without its parentheses",
        link="https://github.com/chelsea0x3b/dfdx/pull/915",
        says="The slope of SiLU is a fraction, of which only the last of three summands was divided; a reviewer asked "
        "for the parentheses.",
        place=silu_gate_backward,
        right="dgate = silu_backward(da, silu_cache)",
        wrong="e = get_xp(gate).exp(-gate)\ndgate = da * (1.0 + e + gate * e / (1.0 + e) ** 2)",
        instead=((fast.silu_gate_backward, missing_parentheses),),
        scene="llama",
        check=checks.of_op("silu_gate"),
    ),
    Exhibit(
        name="all-rows-into-row-0",
        title="Every row's gradient, written to row 0",
        link="https://github.com/ByteDance-Seed/Triton-distributed/issues/180",
        says="The kernel moved the pointers of what it read from row to row, but not those of what it wrote, and all "
        "rows went to the first; the others, not initialised there, are zero here.",
        place=silu_gate_backward,
        right="return dgate, dup",
        wrong="last = [a.reshape(-1, a.shape[-1])[-1].copy() for a in (dgate, dup)]\n"
        "for a, row in zip((dgate, dup), last, strict=True):\n"
        "    a[...] = 0.0\n"
        "    a.reshape(-1, a.shape[-1])[0] = row\n"
        "return dgate, dup",
        instead=((fast.silu_gate_backward, into_row_0),),
        scene="llama",
        check=checks.of_op("silu_gate"),
    ),
)
