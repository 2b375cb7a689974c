"""`with plain_ops():` lets every layer compute on the page: whole models train alike on the page and on the engine."""

import contextlib
import threading

import numpy as np
import pytest

from methods.tiny import rng, some_batch, tiny_gpt
from minilora import LoRAConfig, apply_full, apply_lora
from minilora.models import RobertaForClassification, RobertaForMaskedLM
from minilora.ops import plain_ops
from minilora.ops.plain import engine_of
from minilora.training import AdamW, loss_and_backward
from models.tiny_encoders import BATCHES, tiny


@pytest.fixture
def computed_by():
    """Not twice: each test asks both."""


def who_answers():
    """A function of the engine of which page and engine say who they are."""
    return engine_of(lambda: "page")(lambda: "engine")


def test_the_page_answers_inside_and_the_engine_outside_also_after_an_error():
    ask = who_answers()
    assert ask() == "engine"
    with pytest.raises(KeyError), plain_ops():
        assert ask() == "page"
        with plain_ops():
            assert ask() == "page"
        assert ask() == "page"
        raise KeyError
    assert ask() == "engine"


def test_threads_compute_as_the_one_that_opened_the_context():
    ask, said = who_answers(), []
    with plain_ops():
        thread = threading.Thread(target=lambda: said.append(ask()))
        thread.start()
        thread.join()
    assert said == ["page"]


def adapted(model, adapt):
    adapt(model)
    return model


def by_lora(model):
    apply_lora(model, LoRAConfig(rank=2, alpha=4), rng=rng(1))


MODELS = {
    "gpt, full": lambda: (adapted(tiny_gpt(), apply_full), some_batch()),
    "gpt, lora": lambda: (adapted(tiny_gpt(), by_lora), some_batch()),
    "encoder, full": lambda: (adapted(tiny(RobertaForMaskedLM), apply_full), BATCHES[RobertaForMaskedLM][0]),
    "encoder, lora": lambda: (
        adapted(tiny(RobertaForClassification), by_lora),
        BATCHES[RobertaForClassification][0],
    ),
}


def trained(name, context):
    """Losses and weights of four steps, in float64."""
    model, example = MODELS[name]()
    optimizer = AdamW(model.trainable_parameters(), lr=0.01)
    with context:
        losses = []
        for _ in range(4):
            model.zero_grad()
            losses.append(float(loss_and_backward(model, example)))
            optimizer.step()
    weights = {n: p.data for n, p in model.named_parameters() if not n.endswith(("k_proj.bias", "k_proj.base.bias"))}
    return np.array(losses), weights


@pytest.mark.parametrize("name", MODELS)
def test_training_on_the_page_is_training_on_the_engine(name):
    losses, weights = trained(name, contextlib.nullcontext())
    page_losses, page_weights = trained(name, plain_ops())
    assert np.allclose(page_losses, losses, rtol=1e-10, atol=0)
    assert page_losses[-1] < page_losses[0]
    for parameter, array in weights.items():
        assert np.allclose(page_weights[parameter], array, rtol=1e-7, atol=1e-9), parameter
