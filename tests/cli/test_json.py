"""--json: the numbers that a verb prints, as JSON."""

import json
import re

import numpy as np
import pytest

import minilora
from cli.running import prints, rows_of
from minilora.accounting import ARCHITECTURES, PUBLISHED, adaptation
from minilora.cli.printing import for_json

MODEL = ("--model", "model.safetensors")


@pytest.fixture(autouse=True)
def folder(lora_folder, monkeypatch):
    monkeypatch.chdir(lora_folder)


def as_json(*arguments):
    return json.loads(prints(*arguments, "--json"))


def test_evaluate():
    options = ("evaluate", *MODEL, "--split", "valid")
    result, printed = as_json(*options), prints(*options)
    assert result["task"] == "mini-e2e" and result["split"] == "valid" and result["left_out"] == 0
    assert f"loss {result['loss']:.4f} nats per byte, {result['bits_per_byte']:.4f} bits" in printed
    assert len(result["samples"]) == 48


def test_generate():
    options = ("generate", "The ", *MODEL, "--max-tokens", 9)
    result = as_json(*options)
    assert (
        result["prompt"] + result["answer"] == prints(*options)[:-1] and result["tokens"] == len(result["answer"]) <= 9
    )


def test_merge(tmp_path):
    out = tmp_path / "merged.safetensors"
    result = as_json("merge", *MODEL, "--adapter", "one.safetensors", "--out", out)
    n = sum(p.data.size for p in minilora.load_model(out).parameters())
    assert result == {"file": str(out), "bytes": out.stat().st_size, "parameters": n}


def test_count():
    result = as_json("count", "gpt3-175b", "--rank", 4)
    trained = adaptation(ARCHITECTURES["gpt3-175b"], "lora", rank=4).trainable
    assert result["trained"] == trained == 18_874_368 and result["settings"] == {
        "rank": 4,
        "targets": ["q_proj", "v_proj"],
    }
    assert result["checkpoint_bytes"]["float32"] == 4 * trained
    assert result["memory_bytes"]["total"] == sum(list(result["memory_bytes"].values())[:-1])
    assert [row["verdict"] for row in result["paper"]] == ["rounding", "rounding"]
    assert [row["ours"] for row in as_json("count", "published")] == [row.ours for row in PUBLISHED]
    assert as_json("count", "list")["architectures"]["gpt2"]["parameters"] == 124_439_808


def test_rank():
    result = as_json("rank", "1,2;2,5;2,4")
    assert (result["row_rank"], result["column_rank"], result["numerical_rank"]) == (2, 2, 2)
    assert result["steps"][-1] == {
        "operation": "row 3 minus 2 times row 1",
        "matrix": [["1", "2"], ["0", "1"], ["0", "0"]],
    }
    options = ("rank", "--adapter", "one.safetensors", *MODEL)
    layers, printed = as_json(*options)["LoRA"], rows_of(prints(*options))
    assert {path: str(m["rank"]) for path, m in layers.items()} == {path: row[1] for path, row in printed.items()}


def test_subspace():
    options = ("subspace", "--adapter", "one.safetensors", "--other", "two.safetensors", *MODEL)
    ((path, result),), printed = as_json(*options).items(), rows_of(prints(*options))
    assert np.shape(result["phi"]) == np.shape(result["control"]) == (2, 3) and list(printed) == [path]
    assert f"{result['phi'][0][0]:.3f}" == printed[path][0]
    (weights, *_) = as_json("subspace", "--adapter", "one.safetensors", *MODEL).values()
    assert {"r", "delta", "weight", "norm_W", "factor"} <= weights.keys()


def test_what_is_no_number_in_json_is_null():
    results = {"loss": float("nan"), "n": np.int64(3), "S": np.array([1.0, np.inf]), "pair": (1, float("-inf"))}
    assert for_json(results) == {"loss": None, "n": 3, "S": [1.0, None], "pair": [1, None]}


def test_nothing_but_json_is_printed_with_a_plot(tmp_path):
    out = prints("rank", "1,2;2,5;2,4", "--plot", tmp_path / "steps.png", "--json")
    assert json.loads(out)["row_rank"] == 2 and (tmp_path / "steps.png").is_file() and not re.search("png", out)
