"""`minilora count`: what is printed of an architecture, of a model file, and of the paper's tables."""

import re

import numpy as np
import pytest

import minilora
from experiments.tiny import byte_gpt
from minilora.accounting import (
    ARCHITECTURES,
    METHODS,
    PUBLISHED,
    adaptation,
    architecture_of,
    flops_per_token,
    memory_estimate,
)
from minilora.cli import main
from minilora.models import Deberta, DebertaForClassification
from models.tiny_deberta import CONFIG as DEBERTA
from models.tiny_encoders import ALL as ENCODERS
from models.tiny_encoders import CONFIG, tiny
from models.tiny_llama import tiny_llama


def printed(capsys, *arguments):
    assert main(["count", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def number(text, label):
    """The number behind a label at the beginning of a line."""
    return float(re.search(rf"^ *{label} +([\d,.]+)", text, re.M)[1].replace(",", ""))


def test_gpt3_of_the_paper(capsys):
    text = printed(capsys, "gpt3-175b", "--method", "lora", "--rank", "4", "--targets", "q_proj,v_proj")
    assert text.startswith("gpt3-175b: 174,604,259,328 parameters (L 96, C 12288, H 96, F 49152, V 50257)\n")
    assert "lora, rank 4, targets q_proj,v_proj: 18,874,368 trained, 0.01081 %\n" in text
    assert "75.50 MB in float32, 37.75 MB in float16" in text
    assert "in a step: 75.50 MB (full: 698,417.04)\n    each rank sends 2 (n - 1) / n of it" in text
    table_5 = r"^table 5 .*\nGPT-3, LoRA on W_q, W_v, r = 4 +18M +18,874,368  rounding\n    cut off instead of rounded$"
    assert re.search(table_5, text, re.M) and len(re.findall(r"^table \d+ ", text, re.M)) == 2


def test_memory_and_operations_are_those_of_the_formulas(capsys):
    a = ARCHITECTURES["gpt2"]
    adapted = adaptation(a, "adapter-d", size=24, leave_out=3)
    options = ("--batch-size", 4, "--length", 100, "--optimizer", "sgd")
    text = printed(capsys, "gpt2", "--method", "adapter-d", "--size", 24, "--leave-out", 3, *options)
    memory = memory_estimate(a, adapted, batch_size=4, length=100, optimizer="sgd")
    assert "a step of 4 x 100 tokens with sgd" in text and "adapter-d, size 24, leave_out 3: " in text
    for part, value in (*memory._asdict().items(), ("total", memory.total)):
        assert number(text, part) == pytest.approx(value / 1e6, abs=0.006)
    flops = flops_per_token(a, adapted, 100)
    for part, value in (*flops._asdict().items(), ("training", flops.training)):
        assert number(text, part) == pytest.approx(value / 1e6, abs=0.006)
    share = flops.training / flops_per_token(a, adaptation(a, "full"), 100).training
    assert f"{share:.3f} of full's" in text
    assert text.endswith("the paper prints no count for this\n")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["gpt2-medium", "roberta-large", "deberta-v2-xxlarge"])
def test_every_method_on_every_kind_of_architecture(method, name, capsys):
    text = " ".join(printed(capsys, name, "--method", method).split())
    assert f"{adaptation(ARCHITECTURES[name], method).trainable:,} trained" in text


def test_only_what_the_method_uses_is_named(capsys):
    assert "\nfull: 124,439,808 trained, 100 %\n" in printed(capsys, "gpt2", "--method", "full")


def test_a_model_file(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    minilora.save_model(byte_gpt(), tmp_path / "model.safetensors")
    text = printed(capsys, "--model", "model.safetensors", "--rank", 2)
    holds, formula = re.findall(r"([\d,]+) parameters", text)
    assert holds == formula
    model = byte_gpt()
    minilora.apply_lora(model, minilora.LoRAConfig(rank=2), rng=np.random.default_rng(0))
    assert f"{sum(p.data.size for p in model.trainable_parameters()):,} trained" in text


@pytest.mark.parametrize("model_class", [*ENCODERS, Deberta, DebertaForClassification])
def test_a_model_file_of_an_encoder(capsys, tmp_path, monkeypatch, model_class):
    monkeypatch.chdir(tmp_path)
    model = tiny(model_class, config=CONFIG if model_class in ENCODERS else DEBERTA)
    minilora.save_model(model, tmp_path / "model.safetensors")
    lines = printed(capsys, "--model", "model.safetensors", "--rank", 2).splitlines()
    encoder = sum(p.data.size for p in getattr(model, "encoder", model).parameters())
    head = sum(p.data.size for p in model.parameters()) - encoder
    assert lines[0].endswith(f"{encoder + head:,} parameters" + (f", {head:,} of them in its head" if head else ""))
    assert f": {encoder:,} parameters (L {model.config.n_layer}, " in lines[1]
    length = 9 if model_class in ENCODERS else 512
    assert any(f"a step of 8 x {length} tokens" in line for line in lines)
    minilora.apply_lora(model, minilora.LoRAConfig(rank=2), rng=np.random.default_rng(0))
    factors = sum(p.data.size for name, p in model.named_parameters() if name.endswith((".A", ".B")))
    assert f"{factors:,} trained" in lines[2]


def test_the_longest_text_that_a_model_takes(capsys, tmp_path):
    minilora.save_model(tiny(ENCODERS[0]), tmp_path / "roberta")
    minilora.save_model(tiny(Deberta, config=DEBERTA), tmp_path / "deberta")
    of_roberta = ["count", "--model", str(tmp_path / "roberta"), "--rank", "2", "--length"]
    assert main([*of_roberta, "9"]) == 0 and main([*of_roberta, "10"]) == 2
    assert "from 1 to 9 for" in capsys.readouterr().err
    assert "a step of 8 x 2000 tokens" in printed(
        capsys, "--model", tmp_path / "deberta", "--rank", 2, "--length", 2000
    )


def test_a_llamas_key_value_heads_and_recomputation(tmp_path, capsys):
    minilora.save_model(tiny_llama(dtype="float32"), tmp_path / "llama")
    options = ("--model", tmp_path / "llama", "--rank", 2, "--length", 5)
    assert "(L 2, C 10, H 4, G 2, F 14, V 13)\n" in printed(capsys, *options)
    text, sizes = printed(capsys, *options, "--recompute"), {"batch_size": 8, "length": 5}
    a = architecture_of(tiny_llama().config)
    memory = memory_estimate(a, adaptation(a, "lora", rank=2), **sizes, recompute=True)
    assert number(text, "activations") == pytest.approx(memory.activations / 1e6, abs=0.006)
    assert memory.activations + 6000 < memory_estimate(a, adaptation(a, "lora", rank=2), **sizes).activations
    assert "with adamw, in float32, recomputed, MB:" in text


def test_the_list_has_all_architectures_and_methods(capsys):
    text = printed(capsys, "list")
    assert all(re.search(rf"^{name} .* {a.n_parameters:,}$", text, re.M) for name, a in ARCHITECTURES.items())
    assert f"methods: {', '.join(METHODS)}" in " ".join(text.split())


def test_published_prints_every_count_beside_ours_with_its_verdict(capsys):
    text = printed(capsys, "published")
    rows, table = re.split(r"\n(?! )", text.rstrip("\n")), None
    for row in PUBLISHED:
        if row.table != table:
            table = row.table
            assert rows.pop(0).split() == ["table", str(table), "paper", "ours"]
        line = " ".join(rows.pop(0).split())
        assert line.startswith(f"{row.row} {row.figure}M {row.ours:,} {row.verdict}") and row.reason in line
        assert all(f"{label}: {count:,}" in line for label, count in row.also.items())
    assert not rows and max(map(len, text.splitlines())) <= 80


WRONG = {
    "nothing": ([], "count takes either an architecture .* or --model MODEL"),
    "both": (["gpt2", "--model", "model.safetensors"], "count takes either an architecture"),
    "an unknown architecture": (["gpt5"], "architecture was 'gpt5'; it \\w+ be one of gpt2, .*gpt3-175b"),
    "an unknown method": (["gpt2", "--method", "magic"], "--method was magic; it must be one of full, top-k, "),
    "an unknown target": (["gpt2", "--targets", "c_attn"], r"--targets was \('c_attn',\); each \w+ be one of q_proj"),
    "a rank too large": (["gpt2", "--rank", "1000"], "--rank was 1000; it \\w+ be an integer from 1 to 768"),
    "too long": (["gpt2", "--length", "1025"], "--length was 1,025; it must be from 1 to 1,024 for gpt2"),
    "too long for RoBERTa, whose first two positions no token has": (
        ["roberta-base", "--length", "513"],
        "--length was 513; it must be from 1 to 512 for roberta-base",
    ),
    "no batch": (["gpt2", "--batch-size", "0"], "--batch-size was 0; it must be an integer from 1 to "),
    "no such file": (["--model", "none"], "--model was none; there is no such file or folder"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line(arguments, message, capsys):
    assert main(["count", *arguments]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert said.out == "" and line.startswith("minilora count: ") and re.search(message, line)
