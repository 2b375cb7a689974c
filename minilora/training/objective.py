"""The loss of a batch and its gradients, computed in parts: on several threads, and in micro-batches.

The objective (the paper's equation 2) is the mean over all counted tokens of -log p(token | what came before). A batch
that is cut into parts gives the same: part i has the mean over its own M_i tokens, and enters with the weight M_i / M.
So does a part whose rows are packed into one (`data/packing.py`): what is left out counts nowhere.
"""

from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, Self

import numpy

from minilora.arrays.backend import same_gpu
from minilora.arrays.threads import one_blas_thread, retain_freed_memory
from minilora.data import LMBatch, deal_rows, pack_batch
from minilora.methods import adapter_dropout
from minilora.methods.adalora import penalise_orthogonality
from minilora.methods.lora.per_row_linear import PerRowModule
from minilora.models.model import Model

LITTLE = 0.05  # a batch of which this fraction or less is padding is not packed: its rows are as fast as they are


def loss_and_backward(model: Model, batch: Any, weight: float = 1.0, rng: numpy.random.Generator | None = None) -> Any:
    """Forward, loss and backward of one batch; adds the gradients of ``weight * loss`` to the model's.

    Parameters
    ----------
    model : Model
    batch : LMBatch, EpisodeBatch, ClassificationBatch or MaskedBatch
        A batch of the kind that the model's loss takes.
    weight : float
    rng : numpy.random.Generator, optional
        For the dropout of adapters.

    Returns
    -------
    loss : array scalar
        The mean over the counted tokens, in nats, not multiplied by the weight, and without AdaLoRA's penalty.
    """
    with adapter_dropout(model, rng):
        loss, cache = model.loss(batch)
    model.backward_loss(weight, cache)
    penalise_orthogonality(model, weight)  # of AdaLoRA; the weights of a batch's parts add up to 1
    return loss


def split_batch(batch: Any, parts: int) -> list[Any]:
    """Cut a batch of N rows into at most `parts` batches of neighbouring rows, none empty."""
    N = len(batch.ids)
    cuts = [N * i // parts for i in range(parts + 1)]
    spans = [(i, j) for i, j in pairwise(cuts) if i < j]
    return [type(batch)(*(None if field is None else field[i:j] for field in batch)) for i, j in spans]


def without_padding(model: Model, batch: Any) -> Any:
    """A batch of a decoder in one row without padding, which gives the same loss; or as it is, if that gains nothing.

    It is as it is for models that read one text in a row: encoders, decoders with a prefix, and those of which each row
    has an adapter of its own. And on a GPU, where a few large products of attention take the place of many small ones.
    """
    if not can_be_packed(model, batch):
        return batch
    packed = pack_batch(batch)
    return packed if packed.ids.size < (1.0 - LITTLE) * batch.ids.size else batch


def can_be_packed(model: Model, batch: Any) -> bool:
    """Whether `without_padding` may pack a batch."""
    if not isinstance(batch, LMBatch) or not model.reads_several_texts or model.xp is not numpy:
        return False
    return not any(isinstance(module, PerRowModule) for _, module in model.named_modules())


class DataParallel:
    """`loss_and_backward` with the rows of a batch shared among threads, in `accumulation` micro-batches, packed.

    Where rows are packed, they are dealt so that each thread has about as many tokens to read.

    Each thread runs the plain forward and backward on a replica, which has the model's own arrays but its own
    gradients. NumPy and BLAS release the GIL while they compute, so every core has work in elementwise passes too,
    which NumPy by itself runs on one core. This is data parallelism in miniature: at the end, only the gradients of the
    trained parameters are added up, always in the same order, so that a run repeats to the bit.

    Use it as a context manager; inside, BLAS itself runs on one thread.

    Parameters
    ----------
    model : Model
    threads : int
    accumulation : int
        Micro-batches per step (gradient accumulation); each needs that much less memory for activations.
    before, total : int, optional
        With several processes: all processes' threads are numbered 0 to total - 1; this process owns `threads` of
        them, from `before` onward. It computes what these threads would compute in a single process with all of them,
        with the same dropout; the sum over all processes is the loss, and the gradient, of the batch.
    """

    def __init__(
        self, model: Model, threads: int = 1, accumulation: int = 1, *, before: int = 0, total: int | None = None
    ) -> None:
        for name, value in (("threads", threads), ("accumulation", accumulation)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} was {value!r}; it must be an integer of at least 1")
        self.model = model
        self.threads = threads
        self.accumulation = accumulation
        self.before = before
        self.total = total or threads

    def __enter__(self) -> Self:
        self.replicas = [self.model, *(self.model.replica() for _ in range(self.threads - 1))]
        trained = [replica.trainable_parameters() for replica in self.replicas]
        self._copies = list(zip(*trained, strict=True))  # of each trained parameter: the model's, and the replicas'
        retain_freed_memory()
        self._stack = ExitStack()
        self._stack.enter_context(one_blas_thread())
        self.pool = self._stack.enter_context(ThreadPoolExecutor(max(self.threads - 1, 1), initializer=same_gpu()))
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def loss_and_backward(self, batch: Any, rng: numpy.random.Generator | None = None) -> Any:
        """The mean loss of the batch; adds its gradients to the model's. See the function of this name.

        With several processes, this one's share of that mean: the mean over its own rows, times their fraction of the
        targets.
        """
        for replica in self.replicas[1:]:
            replica.zero_grad()  # after a batch that ended in an error
        count = max(batch.n_targets, 1)
        loss = 0.0
        for micro_batch in split_batch(batch, self.accumulation):
            if self.total > 1 and can_be_packed(self.model, micro_batch):
                micro_batch = deal_rows(micro_batch, self.total)
            shards = split_batch(micro_batch, self.total)
            rngs = rng.spawn(len(shards)) if rng is not None else [None] * len(shards)
            own = slice(*(len(shards) * threads // self.total for threads in (self.before, self.before + self.threads)))
            weights = [shard.n_targets / count for shard in shards[own]]
            packed = [without_padding(self.model, shard) for shard in shards[own]]
            jobs = list(zip(self.replicas, packed, weights, rngs[own], strict=False))
            others = [self.pool.submit(loss_and_backward, *job) for job in jobs[1:]]
            try:
                losses = [loss_and_backward(*job) for job in jobs[:1]]  # the first shard, if any, is this thread's own
            finally:
                wait(others)
            losses += [other.result() for other in others]
            loss += sum(w * part for w, part in zip(weights, losses, strict=True))
        self._collect()
        return loss

    def _collect(self) -> None:
        for p, *twins in self._copies:
            for twin in twins:
                if twin.grad is not None:
                    p.accumulate(twin.grad)
                    twin.grad = None
