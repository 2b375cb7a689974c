"""--bits: a base in few bits, trained beside, measured, merged into and talked to."""

import json

import pytest

import minilora
from cli.running import QUICK, check_refused, measures, prints, read
from methods.tiny import same_bits
from minilora.files import load_arrays
from minilora.methods import quantize
from minilora.models import weights_hash


@pytest.fixture(autouse=True)
def folder(gpt_folder, monkeypatch):
    monkeypatch.chdir(gpt_folder)
    return gpt_folder


MODEL = ("--model", "model.safetensors")
FINETUNE = ("finetune", *MODEL, "--task", "sums.csv", *QUICK)


@pytest.mark.parametrize("method", ["lora", "dora", "bitfit", "adapter-h", "prefix-layer"])
def test_finetune_and_evaluate_on_four_bits(method, tmp_path):
    printed = prints(*FINETUNE, "--bits", "4", "--method", method, "--out", tmp_path)
    result = read(tmp_path / "result.json")
    told = result["quantization"]
    assert told["matrices"] == {"nf4": 6} and 4.1 < told["bits_per_number"] < 4.3
    quantized = minilora.load_model("model.safetensors")
    quantize(quantized)
    assert result["model_id"] == weights_hash(quantized) != weights_hash(minilora.load_model("model.safetensors"))
    of_what = (*MODEL, "--bits", "4", "--adapter", tmp_path)
    assert measures(prints("evaluate", *of_what, "--task", "sums.csv")) == measures(printed)
    assert prints("generate", "1 + 1", *of_what, "--max-tokens", "3").startswith("1 + 1")


def test_the_file_says_so_and_the_float32_base_takes_it_with_a_warning(tmp_path):
    prints(*FINETUNE, "--bits", "4", "--out", tmp_path)
    about = load_arrays(tmp_path / "adapter.safetensors", "lora")[1]
    assert about["quantization"]["matrices"] == {"nf4": 6} and about["base"] != about["unquantized_base"]
    model = minilora.load_model("model.safetensors")
    with pytest.warns(UserWarning, match="was trained on this base in nf4, which is not quantised here: the result is"):
        minilora.load_adapter(model, tmp_path / "adapter.safetensors")


def test_merging_into_the_original_and_into_the_quantised_numbers(tmp_path):
    prints(*FINETUNE, "--bits", "4", "--out", tmp_path / "run")
    file = tmp_path / "run" / "adapter.safetensors"
    prints("merge", *MODEL, "--bits", "4", "--adapter", file, "--out", tmp_path / "into_4_bits.safetensors")
    with pytest.warns(UserWarning, match="was trained on this base in nf4"):
        prints("merge", *MODEL, "--adapter", file, "--out", tmp_path / "into_original.safetensors")
    base, original, four = (
        minilora.load_model(path)
        for path in ("model.safetensors", tmp_path / "into_original.safetensors", tmp_path / "into_4_bits.safetensors")
    )
    quantized = minilora.load_model("model.safetensors")
    quantize(quantized)
    models = (base, original, four, quantized)
    of_base, of_original, of_four, of_quantized = (model.blocks[0].mlp.fc_in.W.data for model in models)  # no adapter
    assert same_bits(of_original, of_base) and same_bits(of_four, of_quantized)
    assert not same_bits(of_four, of_base)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "full"), r"--bits was given, but --method full does not use it; it is for --method lora"),
        (("--method", "pissa"), r"--bits was given, but --method pissa does not use it"),
    ],
)
def test_methods_that_train_the_matrices(arguments, message, capsys, tmp_path):
    check_refused((*FINETUNE, "--bits", "4", *arguments, "--out", "out"), message, tmp_path, capsys)


def test_bits_that_there_are_not(capsys, tmp_path):
    for bits in ("3", "nf4", "16"):
        message = rf"--bits.* was {bits}; it must be one of 4, 8"
        check_refused((*FINETUNE, "--bits", bits, "--out", "out"), message, tmp_path, capsys)
    message = r"blocks.0.attn.q_proj.W has rows of 16 numbers; it must be a multiple of 32"
    check_refused(("generate", "a", *MODEL, "--bits", "8"), message, tmp_path, capsys)


def test_count_knows_bits(capsys, tmp_path):
    def counted(*more):
        return json.loads(prints("count", "smollm2-135m", "--json", *more))

    plain, four, eight = counted(), counted("--bits", "4"), counted("--bits", "8")
    in_blocks = 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    for results, bits in ((four, 4 + 8 / 64 + 32 / (64 * 256)), (eight, 8.5)):
        saved = plain["memory_bytes"]["weights"] - results["memory_bytes"]["weights"]
        assert saved == pytest.approx(in_blocks * (4 - bits / 8), abs=1)
        assert results["memory_bytes"]["workspace"] - plain["memory_bytes"]["workspace"] == 576 * 1536 * 4
    assert "the blocks' matrices in 4 bits" in " ".join(prints("count", "smollm2-135m", "--bits", "4").split())
    message = "--bits was given, but --method full trains the matrices themselves"
    check_refused(("count", "smollm2-135m", "--bits", "4", "--method", "full"), message, tmp_path, capsys)
