"""`minilora report`: of every kind of adapter, with and without a base; what it writes, prints and refuses."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minilora
from cli.running import check_refused, prints
from experiments.report.html_page import Page
from interop.peft_golden import GOLDEN, GPT2
from minilora.analysis import adapter_factors
from minilora.experiments.report.own import factors_in

MODEL = ("--model", "model.safetensors")


@pytest.fixture(autouse=True)
def folder(lora_folder, tmp_path, monkeypatch):
    """A copy, in which pages can be written."""
    shutil.copytree(lora_folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def sections(path):
    return [a["id"] for a in Page(path.read_text(encoding="utf-8")).all("section")]


def test_everything_at_once(folder, lora_models):
    options = ("one.safetensors", "--other", "two.safetensors", *MODEL, "--out", "pages/report.html")
    printed = prints("report", *options)
    page = folder / "pages" / "report.html"
    assert sections(page) == ["sizes", "spectra", "factors", "other", "weights", "intruders"]
    assert printed.endswith("pages/report.html: the page\n") and max(map(len, printed.splitlines())) <= 80
    told = json.loads(prints("report", *options, "--json"))
    assert page.read_text(encoding="utf-8") == (folder / "pages" / "report.html").read_text(encoding="utf-8")
    for name, f in adapter_factors(lora_models["one"]).items():
        norm = told["matrices"][name]["norm"]
        assert norm == pytest.approx(np.linalg.norm(f.scale * f.B @ f.A), rel=1e-5)
        assert f"{norm:.3g}" in Page(page.read_text(encoding="utf-8")).text
    assert list(told["other"]["matrices"]) == ["blocks.0.mlp.fc_in"]
    assert told["other"]["matrices"]["blocks.0.mlp.fc_in"]["input"]["random"] == pytest.approx(3 / 16)
    subspace = json.loads(prints("subspace", "--adapter", "one.safetensors", *MODEL, "--json"))
    for name, table in subspace.items():
        assert told["model"]["matrices"][name]["amplification"]["factor"] == pytest.approx(table["factor"])
    assert told["model"]["matrices"].keys() == subspace.keys()


def test_the_same_command_makes_the_same_page(folder):
    for out in ("a.html", "b.html"):
        prints("report", "one.safetensors", *MODEL, "--out", out)
    assert (folder / "a.html").read_bytes() == (folder / "b.html").read_bytes()


OF_LORA = (p.parent for p in GOLDEN.rglob("adapter_config.json") if json.loads(p.read_text())["peft_type"] == "LORA")


@pytest.mark.parametrize("adapter", sorted(OF_LORA), ids=str)
def test_a_folder_of_peft_s_of_any_architecture_needs_no_model(adapter, folder):
    prints("report", adapter, "--out", "report.html")
    assert sections(folder / "report.html") == ["sizes", "spectra", "factors"]


def test_a_folder_of_peft_s_next_to_its_model(folder):
    told = json.loads(
        prints("report", GPT2 / "c_attn" / "adapter_model.safetensors", "--model", GPT2, "--out", "r.html", "--json")
    )
    assert {name.rpartition(".")[2] for name in told["model"]["matrices"]} == {"q_proj", "k_proj", "v_proj"}
    assert list(told["matrices"]) == list(factors_in(GPT2 / "c_attn"))


def test_dora_and_an_adapter_that_has_learned_nothing(folder):
    prints("report", "dora.safetensors", *MODEL, "--out", "report.html")
    assert "DoRA also sets the length of each row" in Page((folder / "report.html").read_text(encoding="utf-8")).text
    prints("report", "start.safetensors", "--other", "one.safetensors", *MODEL, "--out", "report.html")
    assert sections(folder / "report.html") == ["sizes", "spectra", "factors", "other", "weights"]


def test_one_of_llama_cpp_s(folder, lora_models):
    pytest.importorskip("gguf")
    from minilora.interop.gguf_adapter import save_gguf_adapter

    save_gguf_adapter(lora_models["one"], "one.gguf")
    told = json.loads(prints("report", "one.gguf", *MODEL, "--out", "report.html", "--json"))
    assert told["adapter"]["format"] == "GGUF" and told["model"]["matrices"]
    assert all(name.startswith("blk.0.") for name in told["matrices"])


def test_some_layers(folder):
    told = json.loads(prints("report", "one.safetensors", *MODEL, "--layers", "fc_in", "--out", "r.html", "--json"))
    assert list(told["matrices"]) == list(told["model"]["matrices"]) == ["blocks.0.mlp.fc_in"]


def with_an_entry(folder, value):
    """A folder of PEFT's with such a number in it."""
    shutil.copytree(GPT2 / "c_attn", folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    next(iter(tensors.values()))[0, 0] = value
    save_file(tensors, folder / "adapter_model.safetensors")


OUT = ("--out", "report.html")
REFUSED = {
    "nothing": (["none", *OUT], "the adapter was none; there is no such file or folder$"),
    "a model": (["model.safetensors", *OUT], "the adapter was model.safetensors, a whole model; it must be a LoRA"),
    "another method": (["bitfit.safetensors", *OUT], "which is bitfit; it must be LoRA or a variant of it$"),
    "no other": (["one.safetensors", "--other", "none", *OUT], "--other was none; there is no such file"),
    "a model as the other": (["one.safetensors", "--other", "tuned.safetensors", *OUT], "--other was .* a whole model"),
    "nothing in common": (
        ["one.safetensors", "--other", "none_in_common.safetensors", *OUT],
        "--other was none_in_common.safetensors, which changes blocks.0.attn.o_proj; it must change a matrix",
    ),
    "no model": (["one.safetensors", "--model", "none", *OUT], "--model was none; there is no such file or folder"),
    "another model": (["one.safetensors", "--model", "tuned.safetensors", *OUT], "was trained on another base"),
    "no layer": (
        ["one.safetensors", "--layers", "k_proj", *OUT],
        "--layers was k_proj; there are blocks",
    ),
    "over itself": (
        ["one.safetensors", "--out", "one.safetensors"],
        "--out was one.safetensors, what the adapter",
    ),
    "a folder": (["one.safetensors", "--out", "."], "--out was ., a folder; it must be a file, such as report.html$"),
    "too large": (["large", *OUT], "attn.c_attn' has 1e[+]31 in B, A or scale; each number must be below 1e[+]30$"),
    "NaN": (["nan", *OUT], "holds NaN or infinite values$"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_reported_is_refused_and_nothing_is_written(arguments, message, folder, capsys):
    with_an_entry(folder / "nan", np.nan)
    with_an_entry(folder / "large", 1e31)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    check_refused(["report", *arguments], message, folder, capsys)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_page_that_cannot_be_finished_is_not_begun(folder, monkeypatch):
    def fails(report):
        raise ValueError("in the middle")

    monkeypatch.setattr("minilora.experiments.report.page.page", fails)
    (folder / "report.html").write_text("the page of before")
    assert minilora.cli.main(["report", "one.safetensors", "--out", "report.html"]) == 2
    assert (folder / "report.html").read_text() == "the page of before"
