"""Tables 2, 5, 6 and figure 2: equal terms, runs that are shared, claims that flip, the paper's numbers beside ours."""

import json

import numpy as np
import pytest

from experiments.paper.made_up import MARKS
from experiments.tiny import byte_encoder, words_csv
from minilora.experiments.claims import lines_of, verdict, was_run
from minilora.experiments.classify import adapted_classifier
from minilora.experiments.comparison import mean_and_spread
from minilora.experiments.paper import accuracies, encoder_tasks, figure2, find_experiment, table2, table5, table6
from minilora.experiments.paper.encoder_tasks import Training, Trial, compare
from minilora.experiments.sweep import Sweep
from minilora.experiments.verdicts import FAILS
from minilora.methods import FullConfig, HeadConfig
from minilora.models import bundled, save_model
from plotted import title_of

LABELS = {
    "table2": list(table2.TRIALS),
    "table5": list(table5.PLACES),
    "table6": [table6.label_of(where, rank) for where in table6.TARGETS for rank in table6.RANKS],
    "figure2": [figure2.label_of(method, size) for method, sizes in figure2.METHODS.items() for size in sizes],
}
each_experiment = pytest.mark.parametrize("name", LABELS)


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A task of words, for an encoder that is wide enough for rank 64 and takes 32 tokens more, as the bundled one."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "words.csv").write_text(words_csv())
    save_model(byte_encoder(d_model=64, n_layer=4, n_positions=48), folder / "encoder.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundled, "ASSETS", folder)
        yield Training((str(folder / "words.csv"),), steps=1, batch_size=2, seeds=(0, 1), n_rates=1, n_held_out=8)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def kept(runs):
    """The names of the runs that are kept, most of which say all settings."""
    return [json.loads(line)["run"] for line in (runs / "train_and_measure.jsonl").read_text().splitlines()[1:]]


@each_experiment
def test_it_runs_and_says_what_it_found(name, training, runs):
    experiment = find_experiment(name)
    results = json.loads(json.dumps(experiment.run(training, Sweep(runs, progress=False))))
    (task_results,) = results["tasks"].values()
    assert list(task_results["methods"]) == LABELS[name]
    assert task_results["examples"]["valid"] > 8 and "naive Bayes, bytes" in task_results["baselines"]
    lines = experiment.table(results)
    for label, row in task_results["methods"].items():
        (line,) = (line for line in lines if line.startswith(f"{label}  ") and f"  {row['trainable']:,}  " in line)
        assert f"{100 * row['macro_f1']['mean']:.1f} ± " in line
    assert marks(name, results) == "?" * len(experiment.claims), "two seeds"
    assert experiment.plot(results).axes[0].get_ylabel() or experiment.plot(results).axes[0].get_xlabel()


def test_experiments_share_their_runs(training, runs):
    for name in ("table2", "table6"):
        find_experiment(name).run(training, Sweep(runs, progress=False))
    before = kept(runs)
    find_experiment("table5").run(training, Sweep(runs, progress=False))
    find_experiment("figure2").run(training, Sweep(runs, progress=False))
    new = [run for run in kept(runs) if run not in before]
    assert len(set(kept(runs))) == len(kept(runs)) and len(new) in (0, 2 * (4 + 7 + 6))


def test_the_same_number_of_parameters_is_spent_on_each_choice_of_table_5(training, runs):
    (task_results,) = find_experiment("table5").run(training, Sweep(runs, progress=False))["tasks"].values()
    assert {row["trainable"] for row in task_results["methods"].values()} == {4 * 8 * 2 * 64}


def test_the_head_alone_trains_nothing_that_was_pretrained(training, runs):
    rows = compare(Sweep(runs, progress=False), training, {"a": Trial(HeadConfig(), (1e-3,))})
    (row,) = (task_results["methods"]["a"] for task_results in rows.values())
    assert row["trainable"] == 0 and row["head"] == 64 * 64 + 64 + 2 * 64 + 2


def test_a_seed_gives_every_method_the_same_head(training):
    """Differences are paired: what a seed draws for both sides cancels."""
    (task,) = training.tasks
    heads = []
    for method in (FullConfig(), HeadConfig(), encoder_tasks.lora(2, ("q_proj",)).method):
        model, _ = adapted_classifier(training.run_of(task, Trial(method, (1e-3,))))
        heads.append([p.data for p in model.head.parameters()])
    first, *others = heads
    assert all(np.array_equal(a, b) for head in others for a, b in zip(first, head, strict=True)) and first[0].any()


def test_the_rate_is_chosen_on_valid_whatever_test_says(training, tmp_path, monkeypatch):
    def made_up(settings):
        lr, seed = settings.train.lr, settings.train.seed
        right = {1e-3: 0.7, 1e-2: 0.9, 1e-1: None}[lr]
        if right is None:
            return {"diverged": "the loss became nan", "valid": None, "test": None, "trainable": 1, "head": 2}
        scores = {"valid": {"accuracy": right}, "test": {"accuracy": 1 - right + 0.1 * seed, "macro_f1": 0.5}}
        return {"diverged": None, "trainable": 1, "head": 2, "seconds": 1.0, **scores}

    monkeypatch.setattr(encoder_tasks, "train_and_measure", made_up)
    settings = Training(training.tasks, seeds=(0, 1), n_rates=3)
    trials = {"a": Trial(FullConfig(), (1e-3, 1e-2, 1e-1))}
    (task_results,) = compare(Sweep(tmp_path, progress=False), settings, trials).values()
    row = task_results["methods"]["a"]
    assert row["lr"] == 1e-2 and row["accuracy"]["values"] == pytest.approx([0.1, 0.2])
    assert row["valid_by_lr"] == [(1e-3, 0.7), (1e-2, 0.9), (1e-1, None)]


def test_every_method_has_as_many_rates_and_the_usual_one_is_between_the_others():
    trials = [*table2.TRIALS.values(), *(t for sizes in figure2.METHODS.values() for t in sizes.values())]
    for trial in trials:
        usual, *others = trial.rates
        assert len(others) == 2 and min(others) < usual < max(others)


# ---- what is said of results that are made up


def made(name, accuracies, trainable=None, also=None):
    """Results in which every label of an experiment has an accuracy of 0.8 +- 0.01, but for those that are given."""

    def task(accuracies):
        values = {label: accuracies.get(label, 0.8) for label in LABELS[name]}
        rows = {
            label: {
                "trainable": (trainable or {}).get(label, 1000),
                "head": 50,
                "lr": 1e-3,
                "valid_by_lr": [(1e-3, 0.8), (3e-3, 0.7)],
                "accuracy": mean_and_spread([value - 0.01, value, value + 0.01]),
                "macro_f1": mean_and_spread([0.5, 0.5, 0.5]),
            }
            for label, value in values.items()
        }
        without = {"majority class": 0.4, "naive Bayes, words": 0.78, "naive Bayes, bytes": 0.75}
        levels = {label: {"accuracy": accuracy, "macro_f1": 0.04} for label, accuracy in without.items()}
        return {"examples": {"train": 1000, "valid": 10, "test": 10}, "id": "", "baselines": levels, "methods": rows}

    return {"tasks": {"names": task(accuracies)} | ({"pairs": task(also)} if also is not None else {})}


QV1, Q1, Q64 = "W_q, W_v, r = 1", "W_q, r = 1", "W_q, r = 64"
FULL_FT = "full fine-tuning"
MARKS_OF = [  # experiment, the accuracies that are not 0.8, and the marks of its claims
    ("table2", {}, "++++?"),  # 2 points above naive Bayes, give or take 2.5
    ("table2", {FULL_FT: 0.815}, "++++?"),  # within the margin of 2 points
    ("table2", {FULL_FT: 0.83}, "-++-?"),
    ("table2", {"Adapter^H": 0.83}, "+-++?"),
    ("table2", {"the head alone": 0.7}, "++++?"),
    ("table2", {"LoRA": 0.77}, "---+?"),
    ("table2", {"LoRA, all linear": 0.83}, "+++++"),
    ("table2", {"LoRA, all linear": 0.7}, "+++--"),
    ("table5", {}, "?+?"),
    ("table5", {"W_q, r = 8": 0.7, "W_k, r = 8": 0.7}, "+++"),
    ("table5", {"W_q, r = 8": 0.7}, "?++"),
    ("table5", {"W_v, r = 8": 0.83}, "?--"),
    ("table5", {"W_q, W_v, r = 4": 0.75}, "---"),
    ("table5", {"all four, r = 2": 0.83}, "?-+"),
    ("table6", {}, "+?+?"),
    ("table6", {QV1: 0.785}, "+?+-"),
    ("table6", {QV1: 0.77}, "-?+-"),
    ("table6", {Q1: 0.79}, "+++?"),
    ("table6", {Q1: 0.81}, "+-+?"),
    ("table6", {"all four, r = 64": 0.83}, "+?-?"),
    ("table6", {Q64: 0.7}, "+-++"),  # the higher ranks of W_q are worse, on average over them
    ("figure2", {}, "++?"),
    ("figure2", {"BitFit, all": 0.83}, "-+?"),
    ("figure2", {"LoRA, W_q and W_v, r = 2": 0.83}, "+-?"),
    ("figure2", {"LoRA, W_q and W_v, r = 1": 0.7}, "-+?"),
]


def marks(name, results):
    experiment = find_experiment(name)
    return "".join(MARKS[verdict(claim, results)] for claim in experiment.claims)


@pytest.mark.parametrize(("name", "accuracies", "expected"), MARKS_OF)
def test_a_claim_holds_or_does_not_as_the_results_say(name, accuracies, expected):
    assert marks(name, made(name, accuracies)) == expected


def test_a_claim_holds_if_it_does_on_every_task():
    better = {FULL_FT: 0.9}
    for results in made("table2", {}, also=better), made("table2", better, also={}):
        claim = find_experiment("table2").claims[0]
        assert verdict(claim, results) == FAILS
        assert "LoRA against full fine-tuning: -10 points [-10, -10], n = 3, p < 0.001" in "\n".join(
            lines_of(claim, results)
        )


def test_a_label_that_was_not_trained_leaves_its_claim_undecided():
    results = made("table6", {})
    del results["tasks"]["names"]["methods"][Q64]
    assert marks("table6", results) == "+???" and not was_run(find_experiment("table6").claims[-1], results)


@pytest.mark.parametrize(("accuracy", "expected"), [(0.0, "????-"), (0.03, "++++-")])
def test_equal_failures_are_no_evidence_that_one_is_no_worse(accuracy, expected):
    assert marks("table2", made("table2", dict.fromkeys(LABELS["table2"], accuracy))) == expected


def test_a_method_with_more_parameters_than_lora_is_not_held_against_it():
    large = {"full fine-tuning, all": 100_000}
    assert marks("figure2", made("figure2", {"full fine-tuning, all": 0.9}, large)) == "++?"
    assert marks("figure2", made("figure2", {"full fine-tuning, all": 0.9})) == "-+?"


def test_a_mean_over_several_is_taken_seed_by_seed():
    rows = {label: {"accuracy": {"values": values}} for label, values in {"a": [0.1, 0.2], "b": [0.3, 0.6]}.items()}
    assert accuracies.accuracies(rows, ("a", "b")) == pytest.approx([0.2, 0.4])
    (difference,) = accuracies.on_each_task(lambda rows: [(("a", "b"), "a")])({"tasks": {"t": {"methods": rows}}})
    assert difference.mean == pytest.approx(15.0) and difference.label == "t, the mean of (a; b) against a"


@pytest.mark.parametrize(
    ("name", "label", "paper"),
    [
        ("table2", "full fine-tuning", "86.4         88.9       91.1"),
        ("table2", "LoRA", "87.2         89.0       91.3"),
        ("table2", "Adapter^H", "-         86.4          -"),
        ("table5", "W_k, r = 8", "70.0  90.8"),
        ("table5", "all four, r = 2", "73.7  91.7"),
        ("table6", Q64, "70.0  90.7"),
        ("table6", QV1, "73.4  91.3"),
    ],
)
def test_the_papers_numbers_stand_beside_ours(name, label, paper):
    lines = find_experiment(name).table(made(name, {label: 0.912}))
    (line,) = (line for line in lines if line.startswith(f"{label}  "))
    assert line.endswith(paper) and "91.2 ± 1.0" in line and "0.001*" in line


@each_experiment
def test_each_table_says_how_it_was_made(name):
    text = "\n".join(find_experiment(name).table(made(name, {})))
    for part in (
        "names: 1,000 examples in train",
        "majority class 40.0",
        "of 3 seeds",
        "The head's 50 parameters",
        "lr: the best on valid, with the first seed, of 0.001, 0.003 (*",
    ):
        assert part in text


def test_each_table_says_which_rates_were_tried():
    results = made("table2", {})
    for label in (table2.BITFIT, table2.FINE_TUNING):
        results["tasks"]["names"]["methods"][label]["valid_by_lr"] = [(1e-3, 0.8), (3e-4, 0.7)]
    lines = find_experiment("table2").table(results)
    assert "and of 0.0003, 0.001 for full fine-tuning; BitFit" in map(str.strip, lines)


@each_experiment
def test_each_table_says_which_seeds_learned_nothing(name):
    label = LABELS[name][2]
    lines = find_experiment(name).table(made(name, {label: 0.4}))
    assert f"{label}: 2 of 3 seeds stayed at the most frequent class of names, at 0.001." in lines
    assert not any("stayed" in line for line in find_experiment(name).table(made(name, {label: 0.42})))


@each_experiment
def test_each_table_says_whether_a_baseline_is_better(name):
    results = made(name, {})
    below = "No method reaches naive Bayes on names, which has seen all of train, in these steps."
    for accuracy, is_said in (0.79, False), (0.81, True):
        results["tasks"]["names"]["baselines"]["naive Bayes"] = {"accuracy": accuracy, "macro_f1": 0.5}
        assert (below in find_experiment(name).table(results)) == is_said


def test_both_tasks_are_in_the_table_and_in_the_figure():
    results = made("table2", {}, also={})
    assert sum(line.startswith("LoRA, all linear") for line in find_experiment("table2").table(results)) == 2
    assert [title_of(axes) for axes in find_experiment("table2").plot(results).axes] == ["names", "pairs"]


def test_figure_2_draws_each_size_against_its_parameters():
    sizes = {figure2.label_of(figure2.LORA, f"r = {r}"): 100 * r for r in (1, 2, 4, 8, 64)}
    axes = find_experiment("figure2").plot(made("figure2", {}, sizes)).axes[0]
    (drawn,) = (c for c in axes.containers if c.get_label() == figure2.LORA)
    assert drawn.lines[0].get_xdata().tolist() == list(sizes.values()) and axes.get_xscale() == "log"
    across = " ".join(line.get_label() for line in axes.get_lines()) + axes.figure.get_supxlabel().replace("\n", " ")
    assert figure2.HEAD in across and "majority class" in across, "what trains no parameter is a line, or beyond"


# ---- the door


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": (1,)}, r"seeds was \(1,\); it must be at least 2 different numbers"),
        ({"tasks": ()}, r"tasks was \(\); it must be several names"),
        ({"tasks": "unicode-names"}, "tasks was 'unicode-names'; it must be several names"),
        ({"n_rates": 4}, "n_rates was 4; it must be 1, 2 or 3"),
    ],
)
def test_errors_at_the_door(settings, message):
    with pytest.raises(ValueError, match=message):
        Training(**settings)


def test_figure_2_is_of_one_task(tmp_path):
    with pytest.raises(ValueError, match="it must be one task, which is what the figure shows"):
        find_experiment("figure2").run(Training(("unicode-names", "docstring-pairs")), Sweep(tmp_path))
