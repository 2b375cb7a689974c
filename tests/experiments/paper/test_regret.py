"""Rank, layers, batches and rewards: each run is asked for as it says, and the claims follow the numbers."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.paper.made_up import spread, verdicts
from experiments.tiny import in_place_of_the_bundled_decoder
from minilora.accounting import count_parameters
from minilora.data import TextTask
from minilora.data.splits import SPLITS
from minilora.experiments import adapt
from minilora.experiments.paper import forgetting, policy_gradient, regret
from minilora.experiments.sweep import Sweep
from minilora.methods import apply_method
from minilora.models import GPT, GPTConfig, load_bundled
from minilora.training import TrainConfig
from plotted import title_of

FULL = regret.FULL


@pytest.fixture
def sweep(tmp_path, tmp_path_factory, monkeypatch):
    in_place_of_the_bundled_decoder(tmp_path_factory.mktemp("assets"), monkeypatch)
    return Sweep(tmp_path, progress=False)


# ---- regret: what is run


def test_each_place_has_as_many_parameters():
    counted = set()
    for config in regret.Config().settings()["places"].values():
        model = GPT(
            GPTConfig(vocab_size=256, n_positions=16, n_layer=2, d_model=48, n_head=2), np.random.default_rng(0)
        )
        apply_method(model, config.settings, rng=np.random.default_rng(0))
        counted.add(count_parameters(model).trainable)
    assert len(counted) == 1


def test_every_run_reads_as_many_windows_at_a_constant_rate():
    config = regret.Config()
    for rows in config.settings().values():
        for run in rows.values():
            train = run.train
            assert train.steps * train.batch_size == config.windows_read
            assert (train.schedule, train.warmup) == (
                "constant",
                0.0,
            ) and train.steps // train.eval_every == config.looks


def test_what_is_compared_twice_is_run_once():
    settings = regret.Config().settings()
    assert settings["ranks"]["r = 8"] == settings["batches of 8"]["LoRA"]
    assert settings["ranks"][FULL] == settings["batches of 8"][FULL]


NARROW = (("all layers", 4), ("MLP alone", 7), ("attention alone", 9))  # for matrices of 16 rows


def a_little_text(name, *, length, **_):
    """In place of all code, or all prose, that Python comes with."""
    return TextTask(name, {split: [f"{name} of {split} " * 60] * 2 for split in SPLITS}, length)


def test_a_quick_run_goes_from_settings_to_a_table(sweep, monkeypatch):
    for module in (adapt, forgetting):
        monkeypatch.setattr(module, "task_of", a_little_text)
    results = regret.run(replace(regret.EXPERIMENT.quick, places=NARROW), sweep)
    assert list(results["parts"]) == ["ranks", "places", "batches of 2", "batches of 4"]
    for part, rows in results["parts"].items():
        for row in rows.values():
            assert row["read"] == [0, 4, 8] and np.shape(row["code"]) == (2, 3), part
    text = "\n".join(regret.table(results))
    assert "r = 4" in text and "attention alone" in text and "batches" not in text
    full = results["parts"]["ranks"][FULL]
    assert full["trainable"] == sum(p.data.size for p in load_bundled("decoder").parameters())
    assert verdicts(regret, results) == "?????", "two seeds are too few for any verdict"


# ---- regret: what is said


def row(*, end, start=2.0, read=(0, 8, 16, 24), lr=0.01):
    """Three seeds whose loss falls to `end` in a third of the run, and stays."""
    code = [[start, end + d, end + d, end + d] for d in (-0.001, 0.0, 0.001)]
    tried = [[0.003, 1.2], [0.01, 1.0], [0.03, 1.1]]
    return {"trainable": 9, "lr": lr, "valid_by_lr": tried, "lowest_point": lr, "read": list(read), "code": code}


def results(ranks=(1.5, 1.3, 1.1), full=1.1, places=(1.2, 1.2, 1.4), gaps=(0.02, 0.1)):
    ranks = {f"r = {r}": row(end=end) for r, end in zip((1, 4, 16), ranks)} | {FULL: row(end=full, lr=0.001)}
    places = dict(zip(regret.PLACES, (row(end=end) for end in places)))
    batches = {
        f"batches of {n}": {"LoRA": noisy(row(end=1.2 + gap)), FULL: row(end=1.2)} for n, gap in zip((8, 128), gaps)
    }
    return {"windows": 24, "batch_rank": 16, "parts": {"ranks": ranks, "places": places, **batches}}


def noisy(made):
    """The row, with a gap to another that is not equal in all seeds."""
    return made | {"code": [[*path[:-1], path[-1] + 0.002 * (n == 1)] for n, path in enumerate(made["code"])]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "+++++"),
        ({"ranks": (1.5, 1.1, 1.3)}, "--+++"),  # the highest rank is worse than the one before, and than full
        ({"full": 1.0}, "+-+++"),
        ({"full": 1.09}, "+++++"),  # within the margin
        ({"places": (1.2, 1.4, 1.4)}, "++?-+"),
        ({"places": (1.2, 1.2, 1.1)}, "++-++"),
        ({"gaps": (0.1, 0.02)}, "++++-"),
        ({"gaps": (0.1, 0.1)}, "++++?"),
    ],
)
def test_the_claims_on_regret_follow_the_numbers(changes, expected):
    assert verdicts(regret, results(**changes)) == expected


def test_a_rank_leaves_where_it_stays_behind():
    full = row(end=1.0)
    curves = {(2.0, 1.0, 1.1, 1.1): 16, (2.0, 1.1, 1.0, 1.0): None, (2.0, 1.1, 1.0, 1.1): 24, (2.0, 1.1, 1.1, 1.1): 8}
    for curve, expected in curves.items():
        assert regret.leaves(full | {"code": [curve, curve]}, full) == expected
    assert regret.leaves(full, full) is None


def test_the_table_gives_the_ratio_of_the_best_rates():
    (line,) = [line for line in regret.table(results()) if line.startswith("r = 16")]
    assert line.split()[-3:] == ["never", "0.01", "10.0"]


def curves_of(axes):
    """The curves, without the strokes that lead to their labels."""
    return [line for line in axes.get_lines() if not line.get_label().startswith("_")]


def test_the_picture_has_no_start_on_its_logarithmic_axis():
    figure = regret.plot(results())
    assert [title_of(axes).partition(":")[0] for axes in figure.axes[:2]] == ["ranks", "layers"]
    assert all(min(line.get_xdata(), default=8) == 8 for axes in figure.axes[:2] for line in curves_of(axes))
    gaps = curves_of(figure.axes[2])
    assert gaps and all(min(line.get_xdata()) > 8 and max(line.get_xdata()) == 24 for line in gaps)


# ---- policy gradients


SHORT = TrainConfig(steps=2, batch_size=4, threads=1, eval_every=1)
SMALL = policy_gradient.Config(
    SHORT, SHORT, n_samples=2, seeds=(0, 1), full=(1e-3,), lora=(1e-2,), n_held_out=3, ranks=(1,)
)


def test_all_go_on_from_one_first_training(sweep):
    found = policy_gradient.run(SMALL, sweep)
    assert list(found["methods"]) == ["LoRA, r = 1", FULL] and found["episodes"] == 8
    starts = {str(path[0]) for method in found["methods"].values() for path in method["paths"]}
    assert len(starts) == 1, "the same decoder, before any reward"
    assert len(list((sweep.folder / "adapt_and_keep").iterdir())) == 1
    assert len(list((sweep.folder / "reinforce").iterdir())) == 4
    assert verdicts(policy_gradient, found)[:2] == "??"


def test_an_interrupted_experiment_keeps_what_is_finished(sweep, monkeypatch):
    whole = policy_gradient.run(SMALL, sweep)
    (sweep.folder / "reinforce.jsonl").write_text(
        "".join((sweep.folder / "reinforce.jsonl").read_text().splitlines(keepends=True)[:-1])
    )
    calls, draw = [], policy_gradient.reinforce

    def counted(config, path):
        calls.append(config)
        return draw(config, path)

    counted.__name__, counted.suffix = draw.__name__, draw.suffix
    monkeypatch.setattr(policy_gradient, "reinforce", counted)
    again = policy_gradient.run(SMALL, sweep)
    assert len(calls) == 1 and again == whole


def rewards(before=0.4, rank_1=0.6, rank_8=0.6, full=0.6, bits=900.0, trainable=13_824):
    ends = {"LoRA, r = 1": rank_1, "LoRA, r = 8": rank_8, FULL: full}
    methods = {}
    for label, end in ends.items():
        paths = [[{"step": 0, "slot_exact": before}, {"step": 9, "slot_exact": end + d}] for d in (-0.01, 0.0, 0.02)]
        methods[label] = {
            "trainable": trainable,
            "lr": 0.01,
            "valid_by_lr": [[0.01, 0.5]],
            "bits": spread(bits),
            "paths": paths,
            "drawn": [[0.1 * step for step in range(9)]] * 3,
            "test": {"expected": spread(end), "reward": spread(end), "slot_error_rate": spread(0.1)},
        }
    start = {"expected": before, "reward": before, "slot_error_rate": 0.2}
    return {"reward": "exact", "episodes": 1000, "before": start, "methods": methods}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "+++"),
        ({"before": 0.6}, "?++"),
        ({"before": 0.8}, "-++"),
        ({"rank_1": 0.5}, "+-+"),
        ({"rank_8": 0.4}, "?-+"),
        ({"full": 0.62}, "+++"),
        ({"bits": 20_000.0}, "++-"),
        ({"bits": 0.0}, "++?"),
    ],
)
def test_the_claims_on_rewards_follow_the_numbers(changes, expected):
    assert verdicts(policy_gradient, rewards(**changes)) == expected


def test_the_drawn_rewards_are_means_of_tenths():
    assert policy_gradient.tenths([[float(step) for step in range(20)], [1.0] * 20])[:2] == [
        (1.5, [0.5, 1.0]),
        (3.5, [2.5, 1.0]),
    ]
    assert policy_gradient.tenths([[3.0, 4.0]]) == [(1.0, [3.0]), (2.0, [4.0])]
