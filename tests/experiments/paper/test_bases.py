"""The experiments on another decoder: what differs with the base, where results go, and what is refused."""

import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from cli.running import check_refused, prints, read
from experiments.paper.made_up import row, spread, verdicts
from experiments.tiny import byte_encoder, byte_gpt
from minilora.accounting import count_parameters
from minilora.experiments import rates
from minilora.experiments.adapt import adapt_and_keep, base_and_task, decoder_trainer
from minilora.experiments.experiment import report
from minilora.experiments.figures_page import write_page
from minilora.experiments.paper import (
    EXPERIMENTS,
    bases,
    budget,
    decoder_tasks,
    intrinsic_dimension,
    table3,
    table5,
    table6,
    table18,
)
from minilora.experiments.paper.bases import Base, base_of, short_name
from minilora.experiments.paper.mini_e2e import LORA_RATES, Training, at, train_all
from minilora.experiments.paper.trained_adapters import SubspaceConfig
from minilora.experiments.sweep import Sweep
from minilora.interop.opening import open_language_model
from minilora.methods import apply_method
from minilora.models import Llama, LlamaConfig, save_model
from minilora.training import evaluate_loss
from tiny_models import at_a_generic_point

pytest.importorskip("tokenizers", reason="needs the package tokenizers: pip install -e '.[hf]'")
pytest.importorskip("sacrebleu", reason="needs minilora[metrics]")
pytest.importorskip("nltk", reason="needs minilora[metrics]")
from interop.make_tiny_folders import make_llama  # it imports tokenizers

ABLE = [
    "table3",
    "table5",
    "table6",
    "table18",
    "figure3",
    "figure4",
    "table7",
    "figure8",
    "intrinsic_dimension",
    "budget",
]
SMOLLM2 = {"q_proj": (576, 576), "k_proj": (192, 576), "v_proj": (192, 576), "o_proj": (576, 576)}
LARGE = Base("large", "large", "large", bases.OF_LARGE, SMOLLM2, n_blocks=30, model_id="", n_rates=1, large=True)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return make_llama(tmp_path_factory.mktemp("llama") / "tiny")


@pytest.fixture
def here(llama, tmp_path, monkeypatch):
    """The Llama's folder in the working directory."""
    shutil.copytree(llama, tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)


# ---- the verb


def test_the_experiments_run_on_a_folder_and_go_on_from_their_own_runs(here, llama):
    quick = ("--quick", "--workers", 1)
    printed = prints("reproduce", "table3", "figure8", "--model", "tiny", *quick)
    (out,) = Path("figures/latest-quick").iterdir()
    (runs,) = Path("runs/reproduce-quick").iterdir()
    assert out.name == runs.name == base_of(open_language_model("tiny")).label and out.name.startswith("tiny-")
    assert {path.name for path in out.iterdir()} == {
        f"{name}.{kind}" for name in ("table3", "figure8") for kind in ("json", "png")
    }
    assert f"table3 on {out.name}: Every method for decoders" in printed
    counts = [read(out / f"{name}.json")["runs"]["count"] for name in ("table3", "figure8")]
    assert counts == [4, 2], "two methods with two seeds; and rank 4, which is table 3's LoRA"
    assert f"in {runs}: 4 runs, 0.0 hours of one core" in printed
    record = read(out / "table3.json")
    assert record["base"]["model_id"].startswith(out.name.removeprefix("tiny-"))
    assert record["config"]["training"]["model"] == "tiny" and record["config"]["training"]["steps"] == 3
    assert list(record["results"]["methods"]) == ["full fine-tuning", "LoRA"]

    kept = (runs / "adapt_and_keep.jsonl").read_bytes()
    Path("sub").mkdir()
    Path("tiny").rename("sub/tiny")
    prints("reproduce", "table3", "--model", "sub/tiny", *quick)
    assert (runs / "adapt_and_keep.jsonl").read_bytes() == kept, "nothing was run again"
    assert read(out / "table3.json")["results"] == record["results"]


def test_a_run_is_known_by_the_weights_and_not_by_the_path(llama, tmp_path):
    runs = [at(Training(model=str(model)).lora(), 1e-2, 0) for model in (llama, tmp_path / "moved")]
    assert repr(runs[0]) == repr(runs[1])
    sweep, quick = Sweep(tmp_path / "runs", progress=False), {"steps": 1, "batch_size": 1, "n_held_out": 4}
    for seed in (0, 1):
        folder = make_llama(tmp_path / f"{seed}" / "tiny", seed=seed)
        config = at(Training(model=str(folder), **quick).lora(), 1e-2, 0)
        if seed == 0:
            sweep(adapt_and_keep, [config], model=str(folder))
        else:
            with pytest.raises(ValueError, match="holds the runs of another experiment; these differ: model_id"):
                sweep(adapt_and_keep, [config], model=str(folder))


def test_what_cannot_run_on_another_decoder_is_refused(here, tmp_path, capsys):
    save_model(byte_encoder(), "encoder.safetensors")
    for arguments, message in (
        (
            ["table2", "--model", "tiny"],
            "--model was tiny, but table2 runs on the bundled model only; .*table3, table5",
        ),
        (["all", "table1", "--model", "tiny"], "there is no experiment 'all'"),
        (["table3", "--model", "tinny"], "--model was tinny; there is no such file or folder"),
        (["table3", "--model", "encoder"], "the bundled model is a RobertaForMaskedLM; this command needs a decoder"),
        (["table5", "--model", "encoder.safetensors"], "holds a Roberta; this command needs a decoder"),
    ):
        check_refused(["reproduce", *arguments], message, tmp_path, capsys)


def test_these_can_run_on_another_decoder():
    assert [name for name, experiment in EXPERIMENTS.items() if experiment.on] == ABLE


@pytest.mark.parametrize("name", ABLE)
def test_an_experiment_has_a_config_for_a_tiny_decoder_a_large_one_and_a_quick_run_of_both(name, llama):
    tiny = base_of(open_language_model(llama))
    for base in (tiny, tiny.quick(), LARGE, LARGE.quick()):
        config = EXPERIMENTS[name].on(base)
        training = config.training
        assert training.model == base.training.model
        assert json.dumps(asdict(config))
    assert "{base}" in EXPERIMENTS[name].about


# ---- what differs with the base


def test_a_small_decoder_takes_the_bundled_ones_numbers_and_a_large_one_its_own(llama, monkeypatch):
    opened = open_language_model(llama)
    small = base_of(opened)
    assert small.training == Training(model=str(llama)) and small.rates_of("lora", LORA_RATES) == LORA_RATES
    assert table3.on(small).rates == table3.Config(methods=table3.on(small).methods).rates
    assert "BitFit" not in table3.on(small).methods, "it has no bias to train"
    assert "BitFit" in table3.on(replace(small, has_biases=True)).methods
    monkeypatch.setattr(rates, "LARGE", 1000)
    large = base_of(opened)
    assert large.large and large.training == replace(bases.OF_LARGE, model=str(llama))
    assert large.rates_of("full", table3.OWN) == (2e-4,) and large.rates_of("lora", LORA_RATES) == (3e-3,)
    assert replace(large, n_rates=3).rates_of("lora", LORA_RATES) == (3e-3, 9e-3, 1e-3)
    on_attention = [
        table18.on(large).rates,
        table5.on(large).rates,
        table6.on(large).rates,
        SubspaceConfig().on(large).rates,
    ]
    of_table_3 = dict(zip(table3.on(large).methods, table3.on(large).rates, strict=True))
    assert [*on_attention, of_table_3[table3.LORA]] == [(1e-2,)] * 5
    all_layers = [
        budget.on(large).rates[-1],
        intrinsic_dimension.on(large).lora_rates,
        of_table_3[table3.ALL_LAYERS],
    ]
    assert all_layers == [(3e-3,)] * 3
    assert len(table3.on(large).methods) < len(table3.METHODS)


def test_every_choice_of_matrices_has_as_many_parameters_where_heads_share_keys():
    config = LlamaConfig(
        vocab_size=256, n_positions=256, n_layer=1, d_model=48, n_head=6, n_kv_head=2
    )  # W_k and W_v have a third of the rows, as SmolLM2's
    shapes = {"q_proj": (48, 48), "k_proj": (16, 48), "v_proj": (16, 48), "o_proj": (48, 48)}
    counts = {}
    for label, settings in table5.on(replace(LARGE, shapes=shapes)).settings.items():
        model = at_a_generic_point(Llama, config, dtype="float32", seed=0, spread=0.2)
        apply_method(model, settings, rng=np.random.default_rng(0))
        counts[label] = count_parameters(model).trainable
    assert set(counts.values()) == {8 * 2 * 48}
    assert LARGE.lora(8, ("v_proj",), equal=True).rank_pattern == {"v_proj": 12}
    assert LARGE.lora(8, ("v_proj",)).rank_pattern == {} and LARGE.lora(8, ("q_proj",), equal=True).rank_pattern == {}


def test_ranks_are_at_most_what_the_matrices_can_have(llama):
    tiny = base_of(open_language_model(llama))
    assert tiny.most_rank == 16 and tiny.possible((1, 4, 8, 64, 128)) == (1, 4, 8, 16)
    assert SubspaceConfig(ranks=(8, 64)).on(tiny).ranks == (4, 8)
    assert SubspaceConfig(ranks=(8, 64)).on(LARGE).ranks == (8, 64)


def test_a_large_base_has_the_ranks_that_the_claims_of_the_rank_need():
    large = replace(LARGE, **bases.FOR_LARGE)
    trained = table18.on(large).ranks
    assert "?" not in verdicts(
        table18, {"ranks": {str(r): row(bleu=60.0 + (r == 4), valid=2 - r / 64) for r in trained}}
    )
    rows = {label: {"accuracy": spread(0.5)} for label in table6.on(large).settings}
    assert [claim.compare({"tasks": {"mini-e2e": {"methods": rows}}}) is None for claim in table6.CLAIMS] == [False] * 4


def test_of_many_blocks_five_are_looked_at_and_the_third_is_the_middle_one():
    assert LARGE.blocks() == (0, 10, 15, 20, 29) and replace(LARGE, n_blocks=4).blocks() == (0, 1, 2, 3)
    assert SubspaceConfig().on(LARGE).blocks == LARGE.blocks()


def test_a_model_s_word_is_its_folder_s():
    assert short_name("/models/My Llama (3)") == "My-Llama-3"
    assert short_name("runs/full/model.safetensors") == "full" and short_name("a/b.gguf") == "b"


# ---- what is measured


def test_losses_are_per_byte_whatever_the_tokens_are(llama, tmp_path):
    training = Training(steps=1, batch_size=1, seeds=(0, 1), model=str(llama), n_held_out=4)
    sweep = Sweep(tmp_path, progress=False)
    found = train_all(sweep, {"LoRA": training.lora()}, {"LoRA": (1e-2,)}, training.seeds)
    run = found["LoRA"]["runs"][1]
    model, task, trainer = decoder_trainer(at(training.lora(), 1e-2, 1))
    trainer.run(progress=False)
    per_token = evaluate_loss(model, task.batches("valid"))
    assert task.bytes_per_token("valid") > 1.1 and run["valid"] == pytest.approx(
        per_token / task.bytes_per_token("valid")
    )
    assert len(run["test"]["samples"]) == 4


def test_tables_5_and_6_count_the_answers_that_are_right(llama, tmp_path, monkeypatch):
    training = Training(steps=1, batch_size=1, seeds=(0, 1), model=str(llama), n_held_out=4)
    tiny = replace(base_of(open_language_model(llama)), training=training, n_rates=1)
    made = {"slot_exact": 0.25, "bits_per_byte": 2.0}
    monkeypatch.setattr(decoder_tasks, "measure", lambda model, task, n_prompts: made | {"n": n_prompts})
    config = decoder_tasks.Places(training, (1e-2,), {"W_q, r = 1": tiny.lora(1, ("q_proj",))})
    results = json.loads(json.dumps(decoder_tasks.compare(Sweep(tmp_path, progress=False), config)))["mini-e2e"]
    assert results["before"] == {"accuracy": 0.25, "bits_per_byte": 2.0}
    assert results["examples"]["test"] == 4
    row = results["methods"]["W_q, r = 1"]
    assert row["trainable"] == 2 * (32 + 32) and row["lr"] == 1e-2 and len(row["accuracy"]["values"]) == 2
    model, task = base_and_task(training.lora())
    before = evaluate_loss(model, task.batches("test")) / task.bytes_per_token("test") / math.log(2)
    assert row["bits_per_byte"]["mean"] == pytest.approx(before, rel=0.05) and row["bits_per_byte"]["mean"] != before


def test_tables_5_and_6_show_what_was_counted_beside_the_paper_s_scores():
    row = {"trainable": 9216, "lr": 2e-3, "valid_by_lr": [[2e-3, 0.5]]}
    row |= {"accuracy": spread(0.5, 0.25), "bits_per_byte": spread(0.75)}
    before = {"accuracy": 0.25, "bits_per_byte": 2.0}
    sizes = {"train": 4000, "valid": 48, "test": 48}
    for table in (table5, table6):
        methods = dict.fromkeys(table.on(LARGE).settings, row)
        results = {"tasks": {"mini-e2e": {"examples": sizes, "before": before, "methods": methods}}}
        lines = report(table.EXPERIMENT, {"results": results, "base": LARGE.about()}).splitlines()
        assert lines[0].startswith(f"{table.EXPERIMENT.name} on large: ")
        assert "before it is adapted: 25.0 % of the answers right, 2.000 bits per byte" in lines
        (line,) = (line for line in lines if line.startswith("W_q, r = 8 "))
        assert "50.0 ± 25.0  0.750 ± 0.010  " in line and line.endswith(
            "70.4  9" + ("1.0" if table is table5 else "0.7")
        )
        assert table.EXPERIMENT.plot(results).axes


# ---- the page


def test_the_page_has_the_bundled_models_and_the_other_bases(here):
    prints("reproduce", "table18", "--quick", "--model", "tiny", "--workers", 1, "--out", "figures")
    (place,) = (path for path in Path("figures").iterdir() if path.is_dir())
    record = read(place / "table18.json")
    (place / "table18.json").write_text(json.dumps(record | {"quick": False}))
    bundled = {name: value for name, value in record.items() if name != "base"} | {"quick": False}
    Path("figures/table18.json").write_text(json.dumps(bundled))
    shutil.copytree(place, "figures/latest-quick")  # another page's
    Path("figures/latest-quick/table18.json").write_text(json.dumps(record))
    write_page("figures")
    page = Path("figures/README.md").read_text()
    on_bundled, on_tiny = page.index("## table18: Rank"), page.index(f"## table18 on {place.name}: Rank")
    assert on_bundled < on_tiny and page.count("## table18") == 2
    assert "Here the bundled decoder is adapted" in page[on_bundled:on_tiny]
    assert f"Here {place.name} (a Llama of" in page[on_tiny:] and f"]({place.name}/table18.png)" in page[on_tiny:]
    assert "3 steps of 2 examples, 2 seeds, and one learning rate for each" in page[on_tiny:]


def test_a_decoder_without_room_for_the_task_is_refused(tmp_path):
    config = replace(byte_gpt().config, n_positions=32)
    save_model(byte_gpt(config=config), tmp_path / "short.safetensors")
    with pytest.raises(ValueError, match="mini-e2e has examples of up to .* tokens; the model takes 32"):
        base_of(open_language_model(tmp_path / "short.safetensors"))
