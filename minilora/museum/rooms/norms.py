"""Room 2: normalisation, and the residual stream around it."""

from typing import Any, NamedTuple

from minilora.layers import Block, LayerNorm, LlamaBlock
from minilora.layers.made_again import put_back
from minilora.museum import checks
from minilora.museum.exhibit import Exhibit, Slip, known
from minilora.ops import fast, layernorm_backward, rmsnorm_backward


class FromX(NamedTuple):
    """What the exercise's RMSNorm keeps."""

    x: Any
    inv_rms: Any
    gain: Any


dy_for_dxhat = known("rmsnorm", "the one with dy for dxhat: gain has no say in it")


def without_gain(dy: Any, cache: Any) -> Any:
    return dy_for_dxhat(dy, FromX(cache.xhat / cache.inv_rms, cache.inv_rms, cache.gain))


def without_backward(dy: Any, cache: Any) -> Any:
    return 0.0 * dy, rmsnorm_backward(dy, cache)[1]


def of_the_mean_square(dy: Any, cache: Any) -> Any:
    return rmsnorm_backward(dy, cache._replace(inv_rms=1.0 / cache.inv_rms**2))


def mean_taken_twice(dy: Any, cache: Any) -> Any:
    dx, dgain, dbias = layernorm_backward(dy, cache)
    return dx - cache.inv_std * (dy * cache.gain).mean(axis=-1, keepdims=True), dgain, dbias


def of_whole_texts(dy: Any, cache: Any) -> Any:
    xhat, inv_std, gain, _ = cache
    _, dgain, dbias = layernorm_backward(dy, cache)
    dxhat, axes = dy * gain, tuple(range(1, dy.ndim))
    mean, along = (a.mean(axis=axes, keepdims=True) for a in (dxhat, dxhat * xhat))
    return inv_std * (dxhat - mean - xhat * along), dgain, dbias


def gain_and_bias_left_out(self: Any, dy: Any, cache: Any) -> Any:
    return layernorm_backward(dy, cache)[0]


def residual_through_the_norm(self: Any, dz: Any, cache: Any) -> Any:
    mlp_cache = put_back(cache.mlp, "rms_2(y)", lambda: self.rms_2.again(cache.rms_2))
    dy = self.rms_2.backward(self.mlp.backward(dz, mlp_cache) + dz, cache.rms_2)
    attn_cache = put_back(cache.attn, "rms_1(x)", lambda: self.rms_1.again(cache.rms_1))
    dx = self.rms_1.backward(self.attn.backward(dy, attn_cache), cache.rms_1)
    dx += dy
    return dx


def first_branch_alone(self: Any, dz: Any, cache: Any) -> Any:
    dy = self.ln_2.backward(self.mlp.backward(dz, cache.mlp), cache.ln_2)
    dx = self.ln_1.backward(self.attn.backward(dy, cache.attn), cache.ln_1)
    return dx


ROOM = (
    Exhibit(
        name="rmsnorm-without-its-gain",
        title="RMSNorm's backward, without the gain",
        link="https://github.com/karpathy/llm.c/pull/763",
        says="A reviewer of a reference implementation saw that their own RMSNorm did not multiply by the weight in "
        "its backward, after days of looking.",
        place=rmsnorm_backward,
        right="dxhat = dy * gain",
        wrong="dxhat = dy",
        instead=((fast.rmsnorm_backward, without_gain),),
        scene="llama",
        check=checks.of_op("rmsnorm"),
        slip=Slip("rmsnorm", "dxhat = dy * gain", "dxhat = dy", "the one with dy for dxhat: gain has no say in it"),
    ),
    Exhibit(
        name="rmsnorm-without-a-backward",
        title="A fast RMSNorm that had no backward",
        link="https://github.com/huggingface/candle/issues/2168",
        says="The fast path of a norm had no backward, so that nothing before it got a gradient, and nobody was told.",
        place=rmsnorm_backward,
        right="dx = inv_rms * (dxhat - xhat * mean_dxhat_xhat)",
        wrong="dx = 0.0 * dy",
        instead=((fast.rmsnorm_backward, without_backward),),
        scene="llama",
        check=checks.of_op("rmsnorm"),
        slip=Slip("rmsnorm", "dx = inv_rms * (dxhat - xhat * along)", "dx = 0.0 * dy", "zero everywhere"),
    ),
    Exhibit(
        name="mean-square-for-inverse-rms",
        title="The mean square, stored in the place of 1 / rms",
        link="https://github.com/flagos-ai/FlagGems/pull/5771",
        says="A compiler's fault stored the mean square where the forward was to keep 1 / rms: the output was right, "
        "and the gradient nearly zero.",
        place=rmsnorm_backward,
        right="dx = inv_rms * (dxhat - xhat * mean_dxhat_xhat)",
        wrong="dx = 1.0 / inv_rms**2 * (dxhat - xhat * mean_dxhat_xhat)",
        instead=((fast.rmsnorm_backward, of_the_mean_square),),
        scene="llama",
        check=checks.of_op("rmsnorm"),
    ),
    Exhibit(
        name="layernorm-mean-taken-twice",
        title="LayerNorm's mean, subtracted twice",
        link="https://github.com/tenstorrent/tt-metal/issues/53204",
        says="A register still held the mean when the second term was added, so mean(dxhat) was subtracted twice, and "
        "the loss went down all the same.",
        place=layernorm_backward,
        right="dx = inv_std * (dxhat - mean_dxhat - xhat * mean_dxhat_xhat)",
        wrong="dx = inv_std * (dxhat - 2.0 * mean_dxhat - xhat * mean_dxhat_xhat)",
        instead=((fast.layernorm_backward, mean_taken_twice),),
        scene="gpt",
        check=checks.of_op("layernorm"),
    ),
    Exhibit(
        name="layernorm-of-whole-texts",
        title="LayerNorm's backward, over the whole text",
        link="https://github.com/flagos-ai/FlagGems/issues/5392",
        says="The forward took inputs of any rank, and the backward assumed two axes, so that with (batch, time, "
        "channels) its means went over time as well.",
        place=layernorm_backward,
        right="mean_dxhat_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)",
        wrong="mean_dxhat, mean_dxhat_xhat = (a.mean(axis=(1, 2), keepdims=True) for a in (dxhat, dxhat * xhat))",
        instead=((fast.layernorm_backward, of_whole_texts),),
        scene="gpt",
        check=checks.of_op("layernorm"),
    ),
    Exhibit(
        name="layernorm-never-trained",
        title="LayerNorm's gain and bias, never trained",
        link="https://github.com/harvard-edge/cs249r_book/pull/1504",
        says="Gain and bias were made without being marked as trainable, and the test passed because it marked them.",
        place=LayerNorm.backward,
        right="self.gain.accumulate(dgain)\nself.bias.accumulate(dbias)",
        wrong="",
        instead=((LayerNorm.backward, gain_and_bias_left_out),),
        scene="gpt",
        check=checks.of_model("gpt"),
    ),
    Exhibit(
        name="residual-through-the-norm",
        title="The residual's gradient, put through the norm",
        link="https://github.com/Dao-AILab/quack/pull/53",
        says="A fused norm with a residual added the two gradients before it differentiated the norm, and not after.",
        place=LlamaBlock.backward,
        right="dy = self.rms_2.backward(self.mlp.backward(dz, mlp_cache), cache.rms_2)\ndy += dz",
        wrong="dy = self.rms_2.backward(self.mlp.backward(dz, mlp_cache) + dz, cache.rms_2)",
        instead=((LlamaBlock.backward, residual_through_the_norm),),
        scene="llama",
        check=checks.of_model("llama"),
    ),
    Exhibit(
        name="residual-dropped",
        title="The gradient of the residual, dropped",
        link="https://github.com/TrenTorch/TrenTorch/pull/182",
        says="An autograd forgot how to differentiate a tensor after its first use, so that of several uses, such as "
        "those of a residual stream, one alone passed its gradient on.",
        place=Block.backward,
        right="dy += dz\ndx += dy",
        wrong="",
        instead=((Block.backward, first_branch_alone),),
        scene="gpt",
        check=checks.of_model("gpt"),
    ),
)
