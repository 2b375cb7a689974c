"""Every verb on a Hugging Face folder with its own tokenizer, typed as a user would: a tiny GPT-2 and a tiny Llama.

What comes out ends in PEFT, transformers and llama.cpp, with equal numbers, where MINILORA_PEER_PYTHON names a Python
that has them.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minilora
from cli.running import check_refused, measures, prints, read
from experiments.tiny import csv_text, sums
from llm import llama_cpp
from minilora.data import chat_prompt
from minilora.interop.opening import open_language_model
from minilora.models.llama import Llama

pytest.importorskip("tokenizers", reason="needs the package tokenizers: pip install -e '.[hf]'")
from interop.make_tiny_folders import make_gpt2, make_llama  # it imports tokenizers

PEER = os.environ.get("MINILORA_PEER_PYTHON", "")
MAKE = {"gpt2": make_gpt2, "llama": make_llama}
QUICK = ("--steps", 6, "--batch-size", 4, "--threads", 1, "--lr", 0.02)
SUMS = ("--task", "sums.csv")


@pytest.fixture(scope="module", params=MAKE)
def made(request, tmp_path_factory):
    """A folder in which a model was adapted: base, run (LoRA), full, and what was made of them."""
    folder = tmp_path_factory.mktemp(request.param)
    MAKE[request.param](folder / "base")
    (folder / "sums.csv").write_text(csv_text(sums()))
    (folder / "chats.jsonl").write_text("".join(map(conversation, range(60))))
    before = Path.cwd()
    os.chdir(folder)
    try:
        prints("finetune", "--model", "base", *SUMS, *QUICK, "--targets", "all-linear", "--rank", 3, "--out", "run")
        yield folder
    finally:
        os.chdir(before)


def conversation(i):
    messages = [{"role": "user", "content": f"{i} plus 1?"}, {"role": "assistant", "content": f"{i + 1}."}]
    return json.dumps({"messages": messages}) + "\n"


ADAPTED = ("--model", "base", "--adapter", "run")


def loss_of(*arguments):
    (line,) = measures(prints("evaluate", *arguments, *SUMS))
    return float(line.split()[1])


def logits(model, ids):
    return model.forward(ids[None])[0][0]


def test_the_folder_is_described_counted_and_looked_at(made):
    assert "in Hugging Face's format" in prints("info", "base")
    opened = open_language_model("base")
    n = sum(p.data.size for p in opened.model.parameters())
    assert f"base holds {n:,} parameters" in prints("count", "--model", "base", "--rank", 3)
    assert "blocks.1.attn.v_proj" in prints("rank", *ADAPTED)
    assert "blocks.0.attn.q_proj" in prints("subspace", *ADAPTED, "--layers", "q_proj")


def test_what_was_learned_is_measured_with_the_model_s_own_tokenizer(made):
    result = read("run/result.json")
    opened = open_language_model("base")
    names = {name.rsplit(".", 2)[-2] for name, p in opened.model.named_parameters() if name.endswith("proj.W")}
    assert set(result["config"]["settings"]["targets"]) >= names
    assert result["opened_from"] == "base" and result["loss"] == pytest.approx(loss_of(*ADAPTED), abs=1e-4)
    assert loss_of(*ADAPTED) < loss_of("--model", "base") - 0.1
    per_byte = result["loss"] / np.log(2) / result["bits_per_byte"]
    assert per_byte > 1.1, "tokens are longer than bytes"
    assert " nats per token, " in measures(prints("evaluate", *ADAPTED, *SUMS))[0]
    assert all("�" not in sample["prompt"] for sample in result["samples"])


def test_generate(made):
    told = json.loads(prints("generate", "The river", "--model", "base", "--max-tokens", 12, "--json"))
    tokenizer = open_language_model("base").tokenizer
    assert len(tokenizer.encode("The river")) < len("The river") and told["tokens"] <= 12
    assert prints("generate", "The river", "--model", "base", "--max-tokens", 12) == f"The river{told['answer']}\n"
    assert prints("generate", "3 plus 1", "--source", *ADAPTED) != prints(
        "generate", "3 plus 1", "--source", *ADAPTED[:2]
    )


def test_full_fine_tuning_keeps_the_tokenizer_in_mind(made):
    prints("finetune", "--model", "base", *SUMS, *QUICK, "--method", "full", "--lr", "0.002", "--out", "full")
    assert loss_of("--model", "full") == pytest.approx(read("full/result.json")["loss"], abs=1e-4)
    assert open_language_model("full").tokenizer.vocab_size == open_language_model("base").tokenizer.vocab_size


def test_conversations(made):
    prints("finetune", "--model", "base", "--task", "chats.jsonl", *QUICK, "--out", "chatty")
    assert read("chatty/result.json")["task"]["name"] == "chats.jsonl"
    prints("evaluate", "--model", "base", "--adapter", "chatty", "--task", "chats.jsonl")


def test_merged_into_a_file_it_says_the_same(made):
    prints("merge", *ADAPTED, "--out", "merged.safetensors")
    assert loss_of("--model", "merged.safetensors") == pytest.approx(loss_of(*ADAPTED), abs=2e-4)
    told = json.loads(prints("info", "merged.safetensors", "--json"))
    assert told["tokenizer"] == str((made / "base").resolve()) and told["opened_from"] == "base"


def test_a_file_whose_tokenizer_is_gone_takes_the_one_next_to_it(made, tmp_path, capsys):
    shutil.copytree("base", tmp_path / "base")
    prints("merge", "--model", tmp_path / "base", "--adapter", "run", "--out", tmp_path / "merged.safetensors")
    expected = loss_of("--model", tmp_path / "merged.safetensors")
    (tmp_path / "base").rename(tmp_path / "moved")
    gone = ["evaluate", "--model", str(tmp_path / "merged.safetensors"), *SUMS]
    says = r"which reads the ids of the tokenizer of .*base, which is gone; tokenizer.json must be next to its file$"
    check_refused(gone, says, tmp_path, capsys)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tmp_path / "moved" / name, tmp_path)
    assert loss_of("--model", tmp_path / "merged.safetensors") == expected


def test_merged_into_a_folder_it_says_the_same(made):
    prints("merge", *ADAPTED, "--out", "merged-hf/")
    assert loss_of("--model", "merged-hf") == pytest.approx(loss_of(*ADAPTED), abs=2e-4)


def test_an_adapter_goes_to_peft_and_comes_back(made):
    prints("export-peft", *ADAPTED, "--out", "peft", "--base", "base")
    prints("import-peft", "peft", "--model", "base", "--out", "back.safetensors")
    assert loss_of("--model", "base", "--adapter", "back.safetensors") == pytest.approx(loss_of(*ADAPTED), abs=1e-4)


def test_llama_cpp_computes_the_same(made):
    model = open_language_model("base").model
    prints("export-gguf", *ADAPTED, "--out", "adapter.gguf")
    prints("export-gguf", "--model", "base", "--merged", "--dtype", "f32", "--out", "base.gguf")
    prints("export-gguf", *ADAPTED, "--merged", "--dtype", "q8_0", "--out", "small.gguf")
    prints("merge", *ADAPTED, "--out", "merged.gguf")
    assert "adapter           lora, in GGUF's format" in prints("info", "adapter.gguf")
    if isinstance(model, Llama):  # GPT-2's W_q, W_k and W_v have one norm there
        norms, expected = (json.loads(prints("info", name, "--json"))["norms"] for name in ("adapter.gguf", "run"))
        assert sorted(norms.values()) == pytest.approx(sorted(expected.values()), rel=1e-5)
    assert loss_of("--model", "merged.gguf") == pytest.approx(loss_of(*ADAPTED), abs=5e-3)
    assert loss_of("--model", "base.gguf") == loss_of("--model", "base")
    assert loss_of("--model", "small.gguf") == pytest.approx(loss_of(*ADAPTED), abs=5e-2)
    if not llama_cpp.is_there():
        pytest.skip(llama_cpp.REASON)
    ids = open_language_model("base").tokenizer.encode("The river is long and 12 plus 1").tolist()
    minilora.load_adapter(model, "run/adapter.safetensors")
    last = logits(model, np.array(ids))[-1].astype(np.float64)
    ours = last - last.max() - np.log(np.exp(last - last.max()).sum())
    asked = {"logprobs": [ids], "V": model.config.vocab_size}
    for files in ({"model": made / "base.gguf", "adapter": made / "adapter.gguf"}, {"model": made / "merged.gguf"}):
        theirs = llama_cpp.ask(**files, **asked)["logprobs"][0]
        assert np.abs(np.array(theirs, dtype=float) - ours).max() < 5e-3


def test_an_adapter_of_llama_cpp_is_used_by_every_verb_that_takes_one(made):
    prints("export-gguf", *ADAPTED, "--out", "out.gguf")
    theirs = ("--model", "base", "--adapter", "out.gguf")
    assert loss_of(*theirs) == pytest.approx(loss_of(*ADAPTED), abs=1e-4)
    for verb in (("generate", "3 plus 1", "--source"), ("rank",), ("subspace", "--layers", "v_proj")):
        assert prints(*verb, *theirs).replace("out.gguf", "run") == prints(*verb, *ADAPTED)
    prints("merge", *theirs, "--out", "out.safetensors")
    assert loss_of("--model", "out.safetensors") == pytest.approx(loss_of(*ADAPTED), abs=2e-4)
    prints("export-peft", *theirs, "--out", "out-peft")
    prints("import-peft", "out-peft", "--model", "base", "--out", "in.safetensors")
    assert loss_of("--model", "base", "--adapter", "in.safetensors") == pytest.approx(loss_of(*ADAPTED), abs=1e-4)
    prints("export-gguf", *theirs, "--out", "again.gguf")
    assert Path("again.gguf").read_bytes() == Path("out.gguf").read_bytes()


@pytest.fixture(scope="module")
def peers(made):
    if not Path(PEER).is_file():
        pytest.skip("needs a Python with torch, transformers, peft and xllamacpp: MINILORA_PEER_PYTHON")
    ids = open_language_model("base").tokenizer.encode("The river is long and 12 plus 1")
    np.save("ids.npy", ids)
    prints("merge", *ADAPTED, "--out", "merged-hf/")
    prints("export-peft", *ADAPTED, "--out", "peft", "--base", "base")
    command = [PEER, str(Path(__file__).with_name("peer_every_verb.py")), str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return ids, dict(np.load("peers.npz"))


def test_the_peers_compute_the_same(peers):
    ids, theirs = peers
    adapted = open_language_model("base").model
    ours = {"base": logits(adapted, ids)}
    minilora.load_adapter(adapted, "run/adapter.safetensors")
    ours["adapter"] = ours["merged"] = logits(adapted, ids)
    assert np.abs(ours["adapter"] - ours["base"]).max() > 0.1
    for name, expected in ours.items():
        np.testing.assert_allclose(theirs[name], expected, rtol=0, atol=2e-5 * np.abs(expected).max(), err_msg=name)
    np.testing.assert_array_equal(theirs["tokens"], open_language_model("base").tokenizer.encode("The river is long"))


def test_the_demonstration(made, tmp_path):
    printed = prints("demo", "--model", "base", "--steps", 2, "--out", tmp_path / "out", "--runs", tmp_path / "runs")
    results = read(tmp_path / "out" / "demo.json")
    assert results["model"]["name"] == "base" and "test loss, nats per token" in printed
    assert len(re.findall(r"to the bit: yes", printed)) == 3 and "NO" not in printed
    assert results["LoRA"]["opened_from"] == "base"
    full = open_language_model(tmp_path / "runs" / "full")
    assert full.tokenizer.vocab_size == open_language_model("base").tokenizer.vocab_size


def test_a_chat_with_the_model_s_own_template(made, monkeypatch, capsys):
    opened = open_language_model("base")
    monkeypatch.setattr(sys, "stdin", io.StringIO("The river?\n/adapter off\n/reset\nThe river?\n"))
    printed = prints("chat", *ADAPTED, "--max-tokens", 8)
    answers = {}
    for name in ("base", "adapted"):
        model = open_language_model("base").model
        if name == "adapted":
            minilora.load_adapter(model, "run/adapter.safetensors")
        prompt = chat_prompt([{"role": "user", "content": "The river?"}], opened.tokenizer, opened.template)
        (ids,) = minilora.generate(model, [prompt], max_tokens=8, stop=opened.tokenizer.end_of_text)
        answers[name] = opened.tokenizer.decode(ids).lstrip()
    assert printed == f"{answers['adapted']}\n{answers['base']}\n"
    assert "base, without run" in capsys.readouterr().err
