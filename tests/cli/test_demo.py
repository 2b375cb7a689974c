"""`minilora demo`: its table, its facts, its files."""

import re
import shlex
import shutil
from dataclasses import replace

import pytest

from cli.running import PNG, check_refused, prints, read
from minilora.arrays.backend import gpu_available
from minilora.cli import main
from minilora.cli.demo import report
from minilora.experiments import demo as experiment
from minilora.experiments import demo_settings
from minilora.experiments.demo_settings import OF_LARGE, OF_SMALL
from minilora.models import load_bundled


@pytest.fixture(autouse=True)
def folder(gpt_folder, monkeypatch):
    monkeypatch.chdir(gpt_folder)
    return gpt_folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demonstration, of one step: what it printed, its two folders, and the command."""
    out, runs = tmp_path_factory.mktemp("demo"), tmp_path_factory.mktemp("demo-runs")
    arguments = ["demo", "--steps", "1", "--out", str(out), "--runs", str(runs)]
    return prints(*arguments), out, runs, shlex.join(["minilora", *arguments])


def test_demo_s_table_has_a_number_for_each_model(demo):
    lines = demo[0].splitlines()
    start = next(i for i, line in enumerate(lines) if line.split() == ["base", "LoRA", "full", "fine-tuning"])
    rows = {re.split(r"\s{2,}", line)[0]: re.split(r"\s{2,}", line)[1:] for line in lines[start + 2 :][:11]}
    measured = [
        "test loss, nats per byte",
        "test loss, bits per byte",
        "slot-exact sentences, %",
        "slot error rate, %",
    ]
    size = ["trainable parameters", "% of all, A and B included", "file, KB"]
    trained = [*size, "training, seconds", "training, tokens per second"]
    memory = "peak memory of a step, MB"
    assert {*measured, *trained, memory} <= rows.keys()
    assert all(re.fullmatch(r"[\d.,]+", cell) for name in measured for cell in rows[name])
    assert all(rows[name][0] == "-" for name in [*trained, memory])
    assert all(re.fullmatch(r"[\d.,]+", cell) for name in trained for cell in rows[name][1:])
    assert all(len(cells) == 3 for name, cells in rows.items() if name in {*measured, *trained, memory})
    C = load_bundled("decoder").config.d_model
    numbers = 4 * OF_SMALL.rank * (4 * 2 * C + 2 * 5 * C)  # of A and B: in 4 blocks, on 4 C x C and 2 C x 4C matrices
    of_all = sum(p.data.size for p in load_bundled("decoder").parameters())
    assert rows["trainable parameters"][1:] == [f"{numbers:,}", f"{of_all:,}"]
    assert rows["% of all, A and B included"][1:] == [f"{100 * numbers / (of_all + numbers):.2f}", "100.00"]


def test_help_tells_the_steps_of_the_settings(monkeypatch):
    monkeypatch.setattr(demo_settings, "OF_SMALL", replace(OF_SMALL, steps=1234))
    told = " ".join(prints("help", "demo").split())
    assert f"(default: 1234; for a large model {OF_LARGE.steps})" in told


def test_the_preview_opens_the_decoder_once(monkeypatch):
    opened = []
    monkeypatch.setattr(experiment, "load_bundled", lambda name: opened.append(name) or load_bundled(name))
    (row,) = experiment.preview(1)
    assert opened == ["decoder"] and row["base"] != row["bundled adapter"]


def test_demo_shows_first_what_is_to_come(demo):
    before, *after = re.split(r"^decoder, on mini-e2e as it is", demo[0], flags=re.M)
    assert len(after) == 1
    for label in ("prompt", "base", "bundled adapter"):
        assert len(re.findall(rf"^{label} +\S", before, re.M)) == 2, f"samples of {label}"


def test_demo_states_the_facts(demo):
    assert len(re.findall(r"to the bit: yes", demo[0])) == 3 and "NO" not in demo[0]
    for label in ("prompt", "base", "LoRA", "full fine-tuning", "reference"):
        assert len(re.findall(rf"^{label} +\S", demo[0], re.M)) >= 2, f"samples of {label}"


def test_demo_writes_numbers_figures_and_runs(demo):
    _, out, runs, command = demo
    results = read(out / "demo.json")
    assert results["command"] == command
    assert {"task", "model", "base", "LoRA", "full fine-tuning", "merging", "switching", "seconds"} <= results.keys()
    assert {"minilora", "python", "numpy", "machine", "date"} <= results.keys()
    assert results["LoRA"]["config"]["settings"]["rank"] == OF_SMALL.rank
    assert results["full fine-tuning"]["trainable"] == results["model"]["parameters"]
    for method in ("LoRA", "full fine-tuning"):  # float32, and a header
        assert 0 < results[method]["file"]["bytes"] - 4 * results[method]["trainable"] < 10_000
    assert results["LoRA"]["loss"] != results["base"]["loss"] != results["full fine-tuning"]["loss"]
    assert results["switching"] == {"base_to_the_bit": True, "adapter_from_file_to_the_bit": True}
    assert results["merging"]["unmerged_to_the_bit"] and results["merging"]["largest_logit_difference"] < 1e-5
    figures = {"loss.png", "singular_values.png", "phi.png"}
    assert {path.name for path in out.iterdir()} == {"demo.json", "figures.json", *figures}
    assert all(path.read_bytes().startswith(PNG) for path in out.glob("*.png"))
    assert (runs / "lora" / "adapter.safetensors").is_file() and (runs / "full" / "model.safetensors").is_file()


def test_figures_are_drawn_again_from_the_numbers_that_are_there(demo, tmp_path, capsys):
    printed, out, _, _ = demo
    for name in ("demo.json", "figures.json"):
        shutil.copy(out / name, tmp_path)
    again = prints("demo", "--from-results", "--out", tmp_path)
    assert all((tmp_path / path.name).read_bytes() == path.read_bytes() for path in out.glob("*.png"))
    assert again.splitlines()[:9] == printed[printed.index(again.splitlines()[0]) :].splitlines()[:9]
    assert main(["demo", "--from-results", "--steps", "3", "--out", str(tmp_path)]) == 2
    assert "--steps was given, but --from-results trains nothing" in capsys.readouterr().err
    (tmp_path / "figures.json").write_text("{}")
    assert main(["demo", "--from-results", "--out", str(tmp_path)]) == 2
    assert "figures.json is not what `minilora demo` wrote, or it is damaged" in capsys.readouterr().err


def test_a_fact_that_does_not_hold_is_printed_as_no(demo):
    results = read(demo[1] / "demo.json")
    results["switching"]["base_to_the_bit"] = False
    assert re.search(r"the base to the bit: NO", report(results, "figures"))


def test_demo_on_the_user_s_own_text(tmp_path):
    printed = prints(
        "demo", "--text", "notes.txt", "--steps", 2, "--out", tmp_path / "out", "--runs", tmp_path / "runs"
    )
    assert read(tmp_path / "out" / "demo.json")["task"]["name"] == "notes.txt"
    assert "test loss, bits per byte" in printed and "slot" not in printed
    assert len(re.findall(r"to the bit: yes", printed)) == 3


DEMO = ("demo", "--out", "out", "--runs", "out")


WRONG = {
    "demo steps 0": ([*DEMO, "--text", "notes.txt", "--steps", "0"], r"steps was 0; "),
    "demo, no such text": ([*DEMO, "--text", "none.txt"], r"--text was none.txt, but there is no such file"),
    "demo, no such model": ([*DEMO, "--model", "none"], "--model was none; there is no such file or folder$"),
    "demo, an encoder": (
        [*DEMO, "--model", "encoder"],
        "--model was encoder, a RobertaForMaskedLM; it must be a decoder, which writes text$",
    ),
    "demo, Latin-1": ([*DEMO, "--text", "latin1.txt"], r"latin1.txt is not UTF-8"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    check_refused(arguments, message, folder, capsys)


@pytest.mark.skipif(gpu_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(folder, capsys):
    check_refused([*DEMO, "--device", "gpu"], r"--device was 'gpu', but no CUDA device .* CuPy .*", folder, capsys)
