"""TrainConfig.recompute: a run of the same bits, which a checkpoint does not tell from one that keeps everything."""

import pytest

from methods.tiny import EVERYWHERE, same_bits, tiny_lora, weights_of
from minilora.methods import LoRAConfig
from minilora.models import recompute
from minilora.training import TrainConfig, resume_run, save_run
from training.runs import run, trainer


def dropping():
    return tiny_lora(LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, dropout=0.3))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_is_the_same_to_the_bit(monkeypatch, threads):
    runs, backward, again = [], recompute.backward_block, []

    def counted(block, dy, cache):
        again.append(isinstance(cache, recompute.RecomputedCache))
        return backward(block, dy, cache)

    monkeypatch.setattr("minilora.models.decoder.backward_block", counted)
    for on in (False, True):
        again.clear()
        runs.append(run(dropping(), threads=threads, recompute=on))
        assert set(again) == {on}  # on every thread
    kept, recomputed = runs
    assert recomputed.history.losses == kept.history.losses
    assert same_bits(weights_of(recomputed.model), weights_of(kept.model))
    assert not recomputed.model.recompute  # as it was before


def test_a_model_that_recomputes_already_goes_on_doing_so():
    model = dropping()
    model.recompute = True
    run(model, steps=1)
    assert model.recompute


@pytest.mark.parametrize("on", [False, True])
def test_a_run_can_be_resumed_with_the_other(on, tmp_path):
    whole = run(dropping())
    begun = trainer(dropping(), recompute=on)
    save_run(begun, tmp_path / "checkpoint")
    rest = trainer(dropping(), recompute=not on)
    resume_run(rest, tmp_path / "checkpoint")
    rest.run(progress=False)
    assert rest.history.losses == whole.history.losses


def test_what_is_neither_is_refused():
    with pytest.raises(ValueError, match="recompute was 1; it must be True or False"):
        TrainConfig(recompute=1)
