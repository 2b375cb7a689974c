"""One adaptation of a decoder that diverges: it has no scores, and a sweep goes on."""

from dataclasses import replace

import pytest

from experiments.tiny import in_place_of_the_bundled_decoder
from minilora.experiments.adapt import adapt_and_keep, adapted_decoder
from minilora.experiments.paper.mini_e2e import QUICK, at
from minilora.experiments.sweep import Sweep


@pytest.mark.filterwarnings("ignore:overflow|invalid:RuntimeWarning")
def test_a_run_that_diverges_has_no_scores_and_leaves_nothing_to_load(tmp_path, monkeypatch):
    in_place_of_the_bundled_decoder(tmp_path, monkeypatch)
    run = at(replace(QUICK, n_held_out=2).lora(2), 1e38, 0)
    sweep = Sweep(tmp_path / "runs", progress=False)
    (found,) = sweep(adapt_and_keep, [run], model="decoder")
    assert found["loss"] is found["valid"] is found["test"] is None and found["trainable"] > 0
    with pytest.raises(ValueError, match="safetensors"):
        adapted_decoder(sweep, run)
