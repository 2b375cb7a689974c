"""Room 4: embeddings, biases and the loss: what is summed, over what, and how often."""

from typing import Any

import numpy

from minilora.arrays.backend import get_xp
from minilora.models.decoder import Decoder, HeadLossCache
from minilora.museum import checks
from minilora.museum.exhibit import Exhibit, Slip, known
from minilora.ops import (
    cross_entropy_backward,
    embedding_backward,
    fast,
    linear_backward,
    linear_cross_entropy_backward,
    take_rows_backward,
)
from minilora.training.objective import DataParallel, loss_and_backward, split_batch
from minilora.training.step import train_step

mean_of_rows = known("linear_backward", "the mean over the rows, where their sum belongs")
summed_over_all = known("linear_backward", "the sum of all of dy: the rows are added up, the outputs are not")


def overwriting(dy: Any, cache: Any) -> Any:
    ids, W = cache
    dW = get_xp(dy, W).zeros_like(W)
    dW[ids] = dy
    return dW


def gathered(dy: Any, cache: Any) -> Any:
    ids, W = cache
    rows, places = dy.reshape(-1, dy.shape[-1]), ids.reshape(-1)
    return rows[places[get_xp(dy).arange(len(W)) % len(places)] % len(rows)]


def without_the_heads_share(self: Any, dloss: float, cache: Any) -> None:
    if isinstance(cache.head, HeadLossCache):
        dx = self.head.backward(cross_entropy_backward(dloss, cache.head.cross_entropy), cache.head.logits)
    else:
        dx, _ = linear_cross_entropy_backward(dloss, cache.head)
    self.backward_hidden(take_rows_backward(dx, cache.rows), cache.hidden)


def dbias_as(wrong: Any) -> Any:
    """The right dx and dW, with the dbias of a wrong version from the exercise."""

    def backward(dy: Any, cache: Any) -> Any:
        dx, dW, dbias = linear_backward(dy, cache)
        if dbias is None or dW is None:
            return dx, dW, dbias
        return dx, dW, dbias * 0.0 + wrong(dy, cache)[2]

    return backward


def without_dloss(dloss: float, cache: Any) -> Any:
    return cache.dx, cache.dW


def mean_of_means(self: Any, batch: Any, rng: Any = None) -> Any:
    parts = split_batch(batch, self.accumulation)
    losses = [loss_and_backward(self.model, part, 1.0 / len(parts), rng) for part in parts]
    return sum(losses) / len(parts)


def divided_once_more(self: Any, batch: Any, rng: Any = None) -> Any:
    parts = split_batch(batch, self.accumulation)
    weights = [part.n_targets / max(batch.n_targets, 1) for part in parts]
    losses = [loss_and_backward(self.model, p, w / len(parts), rng) for p, w in zip(parts, weights, strict=True)]
    return sum(w * loss for w, loss in zip(weights, losses, strict=True)) / len(parts)


def last_micro_batch(self: Any, batch: Any, rng: Any = None) -> Any:
    count, loss = max(batch.n_targets, 1), 0.0
    for part in split_batch(batch, self.accumulation):
        self.model.zero_grad()
        loss += part.n_targets / count * loss_and_backward(self.model, part, part.n_targets / count, rng)
    return loss


class Keeping:
    """A model whose gradients are never set to None."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def zero_grad(self) -> None:
        pass


def without_zero_grad(
    model: Any, optimizer: Any, batch: Any, *, backward: Any = loss_and_backward, **options: Any
) -> Any:
    keeping: Any = Keeping(model)
    return train_step(keeping, optimizer, batch, backward=lambda _, batch: backward(model, batch), **options)


right_loss = Decoder.loss


def shifted(by: int) -> Any:
    """The loss on targets that are moved to the left once more, by = 1, or back to the ids themselves, by = -1."""

    def loss(self: Any, batch: Any, *, need_grad: bool = True) -> Any:
        if by < 0:
            return right_loss(self, batch._replace(targets=batch.ids), need_grad=need_grad)
        targets = numpy.roll(batch.targets, -1, axis=1)
        counts = batch.loss_mask.copy()
        counts[:, -1] = False
        return right_loss(self, batch._replace(targets=targets, loss_mask=counts), need_grad=need_grad)

    return loss


WEIGHTS = "weights = [shard.n_targets / count for shard in shards[own]]"
READ = "ids, targets, loss_mask = self.read_batch(batch)"

ROOM = (
    Exhibit(
        name="repeated-ids-overwrite",
        title="Repeated tokens that overwrite each other",
        link="https://github.com/tenstorrent/tt-metal/issues/6232",
        says="The gradient of an embedding was right only if no token occurred twice: first the documentation said so, "
        "then the operation was replaced.",
        place=embedding_backward,
        right="xp.add.at(dW, ids, dy)",
        wrong="dW[ids] = dy",
        instead=((fast.embedding_backward, overwriting),),
        scene="gpt",
        check=checks.of_op("embedding"),
    ),
    Exhibit(
        name="gather-for-its-transpose",
        title="A gather, differentiated by another gather",
        link="https://github.com/ooples/AiDotNet.Tensors/pull/894",
        says="The backward of a lookup was given to a helper that looks up again, with indices that wrapped around, "
        "where it must add up.",
        place=embedding_backward,
        right="xp.add.at(dW, ids, dy)",
        wrong="rows, places = dy.reshape(-1, dy.shape[-1]), ids.reshape(-1)\n"
        "dW = rows[places[xp.arange(len(W)) % len(places)] % len(rows)]",
        instead=((fast.embedding_backward, gathered),),
        scene="gpt",
        check=checks.of_op("embedding"),
    ),
    Exhibit(
        name="tied-head-counted-once",
        title="A tied head that was counted once",
        link="https://github.com/paiml/entrenar/issues/314",
        says="The tied matrix was copied, and head and embedding had an optimizer step each, where one step on the sum "
        "of both gradients belongs; here, the embedding has the lookup's share alone.",
        place=Decoder.backward_loss,
        right="self.head.only_W.accumulate(dW)",
        wrong="",
        instead=((Decoder.backward_loss, without_the_heads_share),),
        scene="gpt",
        check=checks.of_model("gpt"),
    ),
    Exhibit(
        name="bias-mean-for-sum",
        title="A bias, with the mean over the rows",
        link="https://github.com/kvfrans/notes/issues/5",
        says="Course notes took the mean over the batch for the gradient of a bias, where the sum belongs.",
        place=linear_backward,
        right="rows(dy).sum(axis=0)",
        wrong="rows(dy).mean(axis=0)",
        instead=((fast.linear_backward, dbias_as(mean_of_rows)),),
        scene="gpt",
        check=checks.of_op("linear"),
        slip=Slip(
            "linear_backward",
            "dbias = dy_rows.sum(axis=0)",
            "dbias = dy_rows.mean(axis=0)",
            "the mean over the rows, where their sum belongs",
        ),
    ),
    Exhibit(
        name="bias-summed-over-everything",
        title="One sum for all biases",
        link="https://github.com/rasbt/stat453-deep-learning-ss21/issues/5",
        says="A sum without an axis gave every bias of a softmax regression the same gradient, which is zero.",
        place=linear_backward,
        right="rows(dy).sum(axis=0)",
        wrong="0.0 * bias + dy.sum()",
        instead=((fast.linear_backward, dbias_as(summed_over_all)),),
        scene="gpt",
        check=checks.of_op("linear"),
        slip=Slip(
            "linear_backward",
            "dbias = dy_rows.sum(axis=0)",
            "dbias = dy_rows.sum()",
            "the sum of all of dy: the rows are added up, the outputs are not",
        ),
    ),
    Exhibit(
        name="upstream-gradient-forgotten",
        title="The upstream gradient, forgotten",
        link="https://github.com/k2-fsa/k2/issues/341",
        says="The backward of a score ignored the gradient of what was computed from it, and in one training gave the "
        "update the wrong sign.",
        place=linear_cross_entropy_backward,
        right="dloss * grad",
        wrong="grad",
        instead=((linear_cross_entropy_backward, without_dloss),),
        scene="gpt",
        check=checks.of_op("linear_cross_entropy"),
        slip=Slip(
            "cross_entropy_backward",
            "weight = dloss * mask / mask.sum()",
            "weight = mask / mask.sum()",
            "the one for dloss = 1: dloss has no say in it",
        ),
    ),
    Exhibit(
        name="a-mean-of-means",
        title="A mean for each micro-batch",
        link="https://github.com/ml-explore/mlx-lm/pull/1413",
        says="Each micro-batch had the mean over its own tokens, and their gradients were averaged, so that a token of "
        "a short text weighed more than one of a long text.",
        place=DataParallel.loss_and_backward,
        right=WEIGHTS,
        wrong="weights = [1.0 / self.accumulation for shard in shards[own]]",
        instead=((DataParallel.loss_and_backward, mean_of_means),),
        scene="pairs",
        check=checks.MICRO_BATCHES,
    ),
    Exhibit(
        name="divided-once-more",
        title="Divided by the micro-batches twice",
        link="https://github.com/unslothai/unsloth-zoo/pull/1023",
        says="Loss and trainer both divided by the number of micro-batches, which made all gradients smaller by it.",
        place=DataParallel.loss_and_backward,
        right=WEIGHTS,
        wrong="weights = [shard.n_targets / count / self.accumulation for shard in shards[own]]",
        instead=((DataParallel.loss_and_backward, divided_once_more),),
        scene="gpt",
        check=checks.MICRO_BATCHES,
    ),
    Exhibit(
        name="only-the-last-micro-batch",
        title="Gradients set to zero before each micro-batch",
        link="https://github.com/tatsu-lab/alpaca_farm/issues/57",
        says="The model's own zero_grad was called in every micro-batch, so that all but the last counted for nothing; "
        "the authors saw no difference in their results.",
        place=DataParallel.loss_and_backward,
        right="for micro_batch in split_batch(batch, self.accumulation):",
        wrong="for micro_batch in split_batch(batch, self.accumulation):\n    self.model.zero_grad()",
        instead=((DataParallel.loss_and_backward, last_micro_batch),),
        scene="gpt",
        check=checks.MICRO_BATCHES,
    ),
    Exhibit(
        name="zero-grad-forgotten",
        title="zero_grad, forgotten",
        link="https://github.com/tenstorrent/tt-blacksmith/pull/711",
        says="A trainer for LoRA never set the gradients to zero, so that each step followed the sum of all gradients "
        "so far.",
        place=train_step,
        right="model.zero_grad()",
        wrong="",
        instead=((train_step, without_zero_grad),),
        scene="gpt",
        check=checks.SECOND_STEP,
    ),
    Exhibit(
        name="targets-shifted-twice",
        title="Targets that were shifted twice",
        link="https://github.com/huggingface/transformers/issues/47394",
        says="The model shifted the labels, and the loss function shifted them again: it learnt to say the token after "
        "the next.",
        place=Decoder.loss,
        right=READ,
        wrong=f"{READ}\ntargets = numpy.roll(targets, -1, axis=1)",
        instead=((Decoder.loss, shifted(1)),),
        scene="gpt",
        check=checks.NEXT_TOKEN,
    ),
    Exhibit(
        name="targets-not-shifted",
        title="Targets that were not shifted",
        link="https://github.com/huggingface/transformers/issues/27517",
        says="A decoder's loss compared the prediction at each position with the token at that position, and the model "
        "learnt to copy its input.",
        place=Decoder.loss,
        right=READ,
        wrong=f"{READ}\ntargets = ids",
        instead=((Decoder.loss, shifted(-1)),),
        scene="gpt",
        check=checks.NEXT_TOKEN,
    ),
)
