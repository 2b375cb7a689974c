"""A step that does not fit into memory says what it needs, what there is, and what to reduce; nothing is lost."""

import pytest

from device_array import to_fake_device
from methods.tiny import some_batch, tiny_lora
from minilora.accounting import step_estimate
from minilora.methods import lora_layers
from minilora.training import OutOfMemory, TrainConfig, Trainer, resume_newest
from training.runs import trainer
from training.thread_ranks import run_ranks


class CuPysError(MemoryError):
    """As cupy.cuda.memory.OutOfMemoryError puts it."""

    def __init__(self, size, total):
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


@pytest.fixture
def in_bytes(monkeypatch):
    """Sizes in bytes: in megabytes those of a tiny model are all 0.0."""
    monkeypatch.setattr("minilora.training.memory._megabytes", str)


def device_model():
    model = tiny_lora(dtype="float32")
    for p in model.parameters():
        p.data = to_fake_device(p.data)
    for layer in lora_layers(model).values():
        for p in (layer.factors.A, layer.factors.B):
            p.data = to_fake_device(p.data)
    return model


def full_after(model, steps, error):
    """The model, in whose memory there is no room for one step more."""
    loss, calls = model.loss, iter(range(steps))

    def loss_while_there_is_room(*args, **options):
        if next(calls, None) is None:
            raise error
        return loss(*args, **options)

    model.loss = loss_while_there_is_room
    return model


def test_a_full_gpu_ends_a_run_with_what_it_needs_what_there_is_and_what_to_reduce(tmp_path, monkeypatch):
    memory = {"used": 0, "total": 0, "size": 24_000_000_000, "free": 1_500_000}
    monkeypatch.setattr("minilora.training.memory.gpu_memory", lambda: memory)
    model = full_after(device_model(), 3, CuPysError(1_234_567, 23_000_000_000))
    stopped = trainer(model, folder=tmp_path, checkpoint_every=1)
    with pytest.raises(OutOfMemory) as caught:
        stopped.run(progress=False)
    message = str(caught.value)
    assert "step 4 does not fit into memory (Out of memory allocating 1,234,567 bytes (allocated so far: " in message
    assert "a step of 2 x 5 tokens in 1 micro-batch needs about" in message and "activations" in message
    assert "the GPU has 24,000.0 MB, 1.5 of them free" in message
    assert "smaller batch, shorter texts, a higher accumulation" in message and "a method that trains less" in message
    continued = trainer(tiny_lora(dtype="float32"), folder=tmp_path)
    resume_newest(continued, tmp_path)
    assert continued.step == 3


def test_what_is_needed_is_the_estimate_for_the_rows_of_one_turn(in_bytes):
    model = full_after(tiny_lora(dtype="float32"), 0, MemoryError())
    with pytest.raises(
        OutOfMemory, match=r"\(it is full\)\. By formula, a step of 6 x 5 tokens in 4 micro-batches"
    ) as caught:
        trainer(model, sample_batch=lambda rng: some_batch(6), accumulation=4).run(progress=False)
    needed = step_estimate(model, batch_size=2, length=5)
    assert f"needs about {needed.total} MB (weights " in str(caught.value)
    assert "the GPU has" not in str(caught.value)


def test_of_several_ranks_each_needs_memory_for_its_own_rows(in_bytes):
    def train(ranks):
        model = full_after(tiny_lora(dtype="float32"), 0, MemoryError())
        config = TrainConfig(steps=1, batch_size=6, threads=1)
        Trainer(model, lambda rng: some_batch(6), config, ranks=ranks).run(progress=False)

    with pytest.raises(OutOfMemory, match="6 x 5 tokens in 1 micro-batch, shared by 2 ranks, needs about") as caught:
        run_ranks(2, train)
    needed = step_estimate(tiny_lora(dtype="float32"), batch_size=3, length=5)
    assert f"needs about {needed.total} MB (weights " in str(caught.value)
