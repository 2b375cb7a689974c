"""`minilora pretrain`: a decoder and an encoder, and a run that goes on."""

import contextlib
import json
import re
import shlex
from dataclasses import asdict, replace

import numpy as np
import pytest

from cli.running import PNG, check_refused, prints, read
from methods.tiny import same_bits
from minilora.arrays.backend import gpu_available
from minilora.cli import main
from minilora.experiments.pretrain import run as run_pretraining
from minilora.experiments.pretrain_decoder import DECODER
from minilora.experiments.pretrain_encoder import ENCODER
from minilora.files import load_arrays, save_arrays
from minilora.models import RobertaForMaskedLM, load_model


@pytest.fixture(autouse=True)
def folder(gpt_folder, monkeypatch):
    monkeypatch.chdir(gpt_folder)
    return gpt_folder


TINY = ("--steps", "2", "--layers", "1", "--width", "16", "--heads", "2")


PRETRAIN = ("pretrain", "--out", "out")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The folder of a run of three steps, with the checkpoint that it made after two."""
    config = DECODER.config
    shape = {"n_layer": 1, "d_model": 16, "n_head": 2, "d_mlp": 64}
    config = replace(config, model=replace(config.model, **shape), train=replace(config.train, steps=3))
    folder = tmp_path_factory.mktemp("pretrained")
    run_pretraining(DECODER, config, folder, checkpoint_every=2)
    return folder


def test_pretrain(tmp_path, pretrained):
    printed = prints("pretrain", *TINY, "--out", tmp_path)
    recipe = read(tmp_path / "decoder.json")
    assert recipe["command"] == shlex.join(["minilora", "pretrain", *TINY, "--out", str(tmp_path)])
    assert recipe["config"]["model"] | {"n_layer": 1, "d_model": 16, "n_head": 2} == recipe["config"]["model"]
    assert recipe["config"]["train"]["steps"] == 2 and recipe["tokens_seen"] == 2 * 8 * 256
    assert recipe["corpus"].keys() == {"id", "bytes"} and len(recipe["train_bits_per_byte"]) == 1
    assert [point["step"] for point in recipe["validation"]] == [2]
    assert recipe["validation"][0]["bits_per_byte"] == pytest.approx(recipe["bits_per_byte"]["valid"])
    assert 7 < recipe["bits_per_byte"]["test"] < 9 and 2 < recipe["gzip_bits_per_byte"]["test"] < 4
    assert f"{recipe['bits_per_byte']['test']:.3f} bits per byte" in " ".join(printed.split())
    assert (tmp_path / "decoder.png").read_bytes().startswith(PNG)
    arrays, about = load_arrays(tmp_path / "decoder.safetensors", "gpt")
    assert {a.dtype for a in arrays.values()} == {np.dtype("float16")}
    assert about["corpus"] == recipe["corpus"]["id"] and about["command"] == recipe["command"]
    assert prints("generate", "A", "--model", tmp_path / "decoder.safetensors", "--max-tokens", 2)


def test_pretrain_an_encoder(tmp_path):
    printed = prints("pretrain", "--kind", "encoder", *TINY, "--out", tmp_path)
    recipe = read(tmp_path / "encoder.json")
    shape = {"n_layer": 1, "d_model": 16, "n_head": 2, "d_mlp": 64, "vocab_size": 260, "n_positions": 256}
    assert recipe["config"]["model"] | shape == recipe["config"]["model"]
    assert recipe["config"]["train"] == json.loads(json.dumps(asdict(replace(ENCODER.config.train, steps=2))))
    assert recipe["tokens_seen"] == 2 * 8 * 256 and recipe["command"].startswith("minilora pretrain --kind encoder ")
    assert 7 < recipe["bits_per_byte"]["test"] < 9 and 4 < recipe["unigram_bits_per_byte"]["test"] < 5
    unigram = recipe["unigram_bits_per_byte"]["test"]
    assert f"{recipe['bits_per_byte']['test']:.3f} bits per byte on held-out text; unigram: {unigram:.3f}" in printed
    assert (tmp_path / "encoder.png").read_bytes().startswith(PNG)
    assert type(load_model(tmp_path / "encoder.safetensors")) is RobertaForMaskedLM


@pytest.mark.parametrize(("arguments", "kind"), [((), DECODER), (("--kind", "encoder"), ENCODER)])
def test_pretrain_s_defaults_are_those_of_the_bundled_model(arguments, kind, monkeypatch, capsys):
    ran = []

    def spy(*given, **options):
        ran.append(given)
        raise KeyboardInterrupt

    monkeypatch.setattr("minilora.experiments.pretrain.run", spy)
    with contextlib.suppress(KeyboardInterrupt):
        main(["pretrain", *arguments])
    assert ran == [(kind, kind.config, f"runs/{kind.name}")]
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(str(n) in text for n in (kind.config.train.steps, kind.config.model.d_model))


def test_pretrain_goes_on_where_it_stopped(tmp_path, pretrained):
    """To the same weights; a mark in the checkpoint's history shows that it did not begin anew."""
    arrays, about = load_arrays(pretrained / "checkpoint.safetensors", "run")
    assert about["step"] == 2
    about["history"]["losses"][0] = 100.0
    save_arrays(tmp_path / "checkpoint.safetensors", arrays, about)
    prints("pretrain", *TINY, "--steps", 3, "--out", tmp_path)
    history, uninterrupted = read(tmp_path / "history.json"), read(pretrained / "history.json")
    assert history["losses"] == [100.0, *uninterrupted["losses"][1:]] and len(history["losses"]) == 3
    ours, theirs = (load_arrays(run / "decoder.safetensors", "gpt")[0] for run in (tmp_path, pretrained))
    assert same_bits(ours, theirs)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("--steps", "4"), "steps"),
        (("--seed", "1"), "seed"),
        (("--layers", "2"), "layer"),
        (("--width", "32"), "width|d_model"),
        (("--heads", "4"), "head"),
        (("--corpus", "code"), "corpus"),
        (("--kind", "encoder"), "pad_id"),
    ],
)
def test_pretrain_does_not_go_on_with_other_options(pretrained, change, names, capsys):
    before = {path.name: path.read_bytes() for path in pretrained.iterdir()}
    try:
        assert main(["pretrain", *TINY, "--steps", "3", *change, "--out", str(pretrained)]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("minilora pretrain: ") and re.search(names, line.replace(str(pretrained), ""))
        assert {path.name: path.read_bytes() for path in pretrained.iterdir()} == before
    finally:
        for name, content in before.items():
            (pretrained / name).write_bytes(content)


WRONG = {
    "pretrain steps 0": ([*PRETRAIN, "--steps", "0"], r"--steps was 0; .* from 1 to "),
    "pretrain layers 0": ([*PRETRAIN, "--layers", "0"], r"--layers was 0; .* from 1 to 1,000$"),
    "pretrain steps 0, encoder": ([*PRETRAIN, "--kind", "encoder", "--steps", "0"], r"--steps was 0; .* from 1 to "),
    "pretrain width 0": ([*PRETRAIN, "--kind", "encoder", "--width", "0"], r"--width was 0; .* from 1 to "),
    "pretrain heads 5": ([*PRETRAIN, "--width", "16", "--heads", "5"], r"head.* was 5; .* divide .* 16"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    check_refused(arguments, message, folder, capsys)


@pytest.mark.skipif(gpu_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(folder, capsys):
    check_refused([*PRETRAIN, "--device", "gpu"], r"--device was 'gpu', but no CUDA device .* CuPy .*", folder, capsys)
