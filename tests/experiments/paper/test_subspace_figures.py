"""Figures 3, 4 and 8 and table 7: claims follow the numbers, and the adapters that were kept are what is looked at."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.paper.made_up import spread, verdicts
from experiments.tiny import in_place_of_the_bundled_decoder
from minilora.analysis import random_control
from minilora.experiments import adapt
from minilora.experiments.paper import figure3, figure4, figure8, mini_e2e, table7
from minilora.experiments.paper.mini_e2e import Training
from minilora.experiments.paper.trained_adapters import SubspaceConfig, as_grid, as_text, middle_layer, trained_adapters
from minilora.experiments.sweep import Sweep

PATHS = [f"blocks.{block}.attn.{name}_proj" for block in range(4) for name in ("q", "v")]
Q, V = "blocks.2.attn.q_proj", "blocks.2.attn.v_proj"
SMALL = Training(steps=2, batch_size=2, seeds=(0, 1, 2), n_held_out=4)


def test_the_middle_block_is_found():
    assert middle_layer(PATHS) == Q and middle_layer(PATHS, "v_proj") == V


def test_a_grid_survives_being_written():
    grid = np.array([[0.1234, 1.0], [0.0, 0.5]])
    assert as_text(grid) == ["0.123 1.000", "0.000 0.500"]
    assert np.abs(as_grid(as_text(grid)) - grid).max() < 5e-4


def figure_3(**first):
    layer = {"grid_A": as_text(np.eye(2, 4)), "grid_delta": as_text(np.eye(2, 4)), "all": spread(0.5)}
    rows = {p: layer | {"first_A": spread(0.1), "first_delta": spread(0.6)} for p in PATHS}
    rows[Q] = rows[Q] | {name: spread(value) for name, value in first.items()}
    return {"ranks": [2, 4], "I": 16, "layers": rows, "batches": "the same"}


@pytest.mark.parametrize(
    ("first", "expected"),
    [({}, "-+"), ({"first_delta": 0.4}, "--"), ({"first_delta": 0.5}, "-?"), ({"first_A": 0.9}, "-+")],
)
def test_figure_3_wants_both_projections_above_a_half(first, expected):
    assert verdicts(figure3, figure_3(**first)) == expected


def figure_4(q, v, chance=0.5):
    common = {p: spread(q if "q_" in p else v, 0.1) for p in PATHS} | {figure4.RANDOM: spread(chance, 0.1)}
    grids = {name: as_text(np.eye(4)) for name in (Q, V, figure4.RANDOM)}
    return {"rank": 4, "I": 16, "pairs": 3, "first": 1, "common": common, "grids": grids}


@pytest.mark.parametrize(
    ("q", "v", "expected"),
    [(3, 2, "++"), (2, 3, "+-"), (3, 0.1, "?+"), (3, -2, "-+"), (2, 2, "+?")],
)
def test_figure_4_compares_the_common_directions(q, v, expected):
    assert verdicts(figure4, figure_4(q, v)) == expected


def test_the_same_subspace_has_all_directions_in_common_and_chance_has_none():
    same = np.minimum(1.0, np.minimum(*np.ogrid[1:5, 1:5]) / np.minimum(*np.ogrid[1:5, 1:5]))
    assert figure4.common_directions(same, 16, 4) == pytest.approx(4 - 16 / 16)
    assert figure4.common_directions(same, 16, 2) == pytest.approx(2 - 4 / 16)
    assert figure4.common_directions(random_control(4, 4, 16), 16, 3) == pytest.approx(0.0)


def table_7(**changes):
    low = {"delta": 0.5, "weight": 9.0, "random": 0.2, "norm_W": 20.0, "norm_delta": 10.0, "factor": 20.0} | changes
    high = {"delta": 5.0, "weight": 12.0, "random": 3.0, "norm_W": 20.0, "norm_delta": 10.0, "factor": 2.0}
    ranks = {
        rank: {p: {"r": int(rank), "random_expected": 0.2} | {n: spread(x) for n, x in numbers.items()} for p in PATHS}
        for rank, numbers in (("4", low), ("64", high))
    }
    return {"ranks": ranks}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "++++"),
        ({"delta": 0.2}, "?+++"),  # as random directions
        ({"delta": 0.1}, "-+++"),
        ({"delta": 4.4}, "++++"),
        ({"delta": 4.6}, "+-++"),  # more than half of W's own
        ({"factor": 5.0}, "++-+"),
        ({"factor": 2.0}, "++-?"),
    ],
)
def test_table_7_claims_what_its_norms_say(changes, expected):
    assert verdicts(table7, table_7(**changes)) == expected


def test_the_figure_of_table_7_has_the_tables_amplification():
    (axes,) = table7.plot(table_7(factor=33.0)).axes
    assert [t.get_text().split()[-1] for t in axes.get_xticklabels()] == ["33", "2"]


@pytest.mark.parametrize(("phi", "mark"), [(0.15, "+"), (0.22, "+"), (0.25, "?"), (0.262, "?"), (0.3, "-")])
def test_figure_8_wants_little_in_common(phi, mark):
    layer = {"grid": as_text(np.full((3, 2), phi)), "all": spread(phi), "control": as_text(random_control(3, 2, 16))}
    assert verdicts(figure8, {"rank": 2, "I": 16, "layers": dict.fromkeys(PATHS, layer)}) == mark


@pytest.fixture
def sweep(monkeypatch, tmp_path, tmp_path_factory):
    in_place_of_the_bundled_decoder(tmp_path_factory.mktemp("assets"), monkeypatch)
    return Sweep(tmp_path, progress=False)


def test_the_adapters_that_were_trained_are_what_is_compared(sweep):
    config = SubspaceConfig(SMALL, ranks=(2, 4), rates=(1e-2,))
    adapters = trained_adapters(config, sweep)
    assert {rank: len(of_rank) for rank, of_rank in adapters.items()} == {2: 3, 4: 3}
    layer = "blocks.0.attn.q_proj"
    assert adapters[4][0][layer].A.shape == (4, 16) and adapters[4][0][layer].B.any(), "trained"
    assert not np.array_equal(adapters[4][0][layer].A, adapters[4][1][layer].A), "of another seed"
    model, _, trainer = adapt.decoder_trainer(mini_e2e.at(SMALL.lora(4), 1e-2, 1))
    trainer.run(progress=False)
    trained = dict(model.named_modules())[layer]
    assert np.array_equal(adapters[4][1][layer].A, trained.A.data) and adapters[4][1][layer].scale == trained.scale

    for module, ranks in ((figure3, (2, 4)), (table7, (2, 4)), (figure8, (2,))):
        results = module.run(SubspaceConfig(SMALL, ranks=ranks, rates=(1e-2,)), sweep)
        assert set(verdicts(module, results)) <= set("+-?")
    results = figure4.run(figure4.Config(SMALL, ranks=(4,), rates=(1e-2,)), sweep)
    assert set(verdicts(figure4, results)) <= set("+-?")
    assert len(results["common"][layer]["values"]) == 3, "pairs of seeds"


def test_figure_3_s_two_adapters_have_the_same_batches_and_another_start(sweep):
    config = SubspaceConfig(SMALL, ranks=(2, 4), rates=(1e-2,))
    usual, elsewhere = trained_adapters(config, sweep), trained_adapters(config, sweep, other_start=(2,))
    layer = "blocks.0.attn.q_proj"
    assert not np.allclose(usual[2][0][layer].A, elsewhere[2][0][layer].A, atol=0.01)
    assert np.array_equal(usual[4][0][layer].A, elsewhere[4][0][layer].A)
    run = mini_e2e.at(SMALL.lora(2), 1e-2, 1)
    batches = []
    for config in (run, replace(run, start_seed=1001)):
        *_, trainer = adapt.decoder_trainer(config)
        batches.append(trainer.sample_batch(trainer.rng).ids)
    assert np.array_equal(*batches)


def test_results_of_before_are_read_and_leave_the_claims_undecided():
    before = figure_3(first_A=0.9, first_delta=0.9)
    del before["batches"]
    assert verdicts(figure3, before) == "??" and any("with other batches" in line for line in figure3.table(before))
    before = figure_4(3, 2)
    del before["first"]
    assert verdicts(figure4, before) == "??" and any("the most over i" in line for line in figure4.table(before))


def test_figure_4_wants_three_pairs():
    with pytest.raises(ValueError, match=r"seeds was \(0, 1\); it must be at least 3"):
        figure4.Config(Training(seeds=(0, 1)))
