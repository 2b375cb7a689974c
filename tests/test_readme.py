"""What the README shows is what happens: its code runs, its output is the code's, its commands and links exist."""

import contextlib
import inspect
import io
import json
import re
import shlex
from pathlib import Path

import pytest

from minilora.cli.demo import samples, table
from minilora.cli.verbs import parse
from minilora.methods import bundled_adapter
from minilora.models import bundled_recipe
from minilora.ops import lora_linear_backward
from minilora.training import train_step

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_backward_that_is_shown_is_the_one_that_runs():
    assert blocks("python")[0] == inspect.getsource(lora_linear_backward)


def test_the_step_that_is_shown_is_the_one_that_runs():
    body = inspect.getsource(train_step).rpartition('"""')[2].removeprefix("\n")
    assert blocks("python")[1] + "    return loss, norm\n" == body


def test_the_example_prints_what_is_shown():
    example, shown = blocks("python")[2], blocks("text")[2]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {})
    assert printed.getvalue() == shown


def test_the_checkpoints_code_runs(tmp_path):
    golden = ROOT / "tests" / "golden" / "peft" / "gpt2"
    example = blocks("python")[3]
    llama, ours, folder = ROOT / "tests" / "golden" / "llama" / "tied", tmp_path / "ours", tmp_path / "folder"
    places = {"gpt2": golden, "adapter": golden / "c_attn", "ours": ours, "llama": llama, "folder": folder}
    for shown, path in places.items():
        example = example.replace(f"path/to/{shown}", str(path))
    exec(compile(example, "README.md", "exec"), {})
    assert {path.name for path in ours.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}


def test_the_demonstrations_numbers_are_those_of_the_committed_results():
    results = json.loads((ROOT / "figures" / "demo" / "demo.json").read_text())
    assert blocks("text")[0] == "\n".join([*table(results), "", *samples(results)]).rstrip() + "\n"
    speed = {name: s["median"] for name, s in results["merging"]["tokens_per_second"].items()}
    merged, base = speed["LoRA, merged"], speed["base"]
    assert f"{merged:,.0f} tokens per second, where the base makes {base:,.0f}" in " ".join(README.split())


def test_the_language_models_numbers_and_sentences_are_those_of_its_result():
    result = json.loads((ROOT / "figures" / "smollm2" / "result.json").read_text())
    n, exact, errors = len(result["samples"]), 100 * result["slot_exact"], 100 * result["slot_error_rate"]
    right, said = round(n * result["slot_exact"]), " ".join(README.split())
    assert f"{right} of {n} test sentences ({exact:.0f} %)" in said and f"slot error rate is {errors:.0f} %" in said
    answers = {sample["prompt"].strip(): sample["answer"] for sample in result["samples"]}
    shown = re.findall(r"^(name: .+)\n  -> ((?:.+\n)+?)(?=name: |```)", README, re.MULTILINE)
    assert len(shown) == 4 and all(answers[prompt] == " ".join(answer.split()) for prompt, answer in shown)


def test_the_bundled_adapters_numbers_are_those_of_its_record():
    record = json.loads(bundled_adapter().with_suffix(".json").read_text())
    valid, train = record["valid"], record["train"]
    n, exact, errors = len(valid["samples"]), 100 * valid["slot_exact"], 100 * valid["slot_error_rate"]
    said = f"{round(n * valid['slot_exact'])} of {n} sentences of the valid split ({exact:.0f} %) are exactly right"
    assert f"{said}, at a slot error rate of {errors:.0f} %" in " ".join(README.split())
    assert f"{train['steps']:,} steps of {train['batch_size']} (`{record['command']}`)" in " ".join(README.split())


def test_the_bundled_decoders_numbers_are_those_of_its_recipe():
    recipe = bundled_recipe()
    ours, gzips = recipe["bits_per_byte"]["test"], recipe["gzip_bits_per_byte"]["test"]
    assert f"{ours:.2f} bits per byte on held-out prose, where gzip needs {gzips:.2f}" in " ".join(README.split())


@pytest.mark.parametrize("command", re.findall(r"^(minilora .*?)(?:  +#.*)?$", "\n".join(blocks("sh")), re.MULTILINE))
def test_a_command_is_understood(command):
    parse(shlex.split(command)[1:])


def test_every_make_target_exists():
    targets = set(re.findall(r"\bmake ([a-z]+)", "\n".join(blocks("sh"))))
    assert targets
    assert targets <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("target", re.findall(r"(?:\]\(|src=\")(?!http)([^)\"#]+)", README))
def test_a_link_leads_somewhere(target):
    assert (ROOT / target).exists()
