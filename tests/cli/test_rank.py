"""`minilora rank`: of a matrix, of adapters, and of a fully fine-tuned model."""

import numpy as np
import pytest

from cli.running import PNG, check_refused, rows_of
from experiments.tiny import byte_encoder, byte_gpt
from minilora.analysis import (
    adapter_factors,
    delta_weights,
    directions_for,
    effective_rank,
    singular_values,
    stable_rank,
)
from minilora.cli import main
from minilora.models import new_classifier, save_model
from plotted import title_of


@pytest.fixture(autouse=True)
def folder(lora_folder, monkeypatch):
    monkeypatch.chdir(lora_folder)
    return lora_folder


MODEL = ("--model", "model.safetensors")


Q_PROJ, V_PROJ = "blocks.0.attn.q_proj", "blocks.0.attn.v_proj"


def printed(capsys, verb, *arguments):
    of_layers = verb == "subspace" or {"--adapter", "--tuned", "--weights"} & set(arguments)
    model = MODEL if of_layers else ()
    assert main([verb, *map(str, arguments), *model]) == 0
    return capsys.readouterr().out


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    from minilora import plots

    figures, save = [], plots.save
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure) or save(figure, path))
    return figures


def test_the_matrix_of_the_textbook(capsys):
    text = printed(capsys, "rank")
    assert "row 2 minus 2 times row 1\n    [ 1  2 ]\n    [ 0  1 ]\n    [ 2  4 ]\n" in text
    assert "2 nonzero rows: row rank 2\n" in text and "2 nonzero rows: column rank 2\n" in text
    assert text.endswith("Singular values: 7.342, 0.3046\nof which more than rounding: 2\n")
    assert text == printed(capsys, "rank", "1,2;2,5;2,4")


def test_fractions_and_decimals(capsys):
    text = printed(capsys, "rank", "--", "-0.1, 0.3; 1/3, -1")
    assert "row 2 plus 10/3 times row 1" in text and "1 nonzero row: row rank 1" in text
    assert text.endswith("of which more than rounding: 1\n")


def test_the_ranks_of_an_adapter_layer_by_layer(lora_models, capsys):
    cells = rows_of(printed(capsys, "rank", "--adapter", "one.safetensors", "--share", 60))
    factors = adapter_factors(lora_models["one"])
    assert list(cells) == list(factors) == ["blocks.0.attn.q_proj", "blocks.0.mlp.fc_in"]
    for path, delta_W in factors.items():
        S = singular_values(delta_W)
        O, I = len(delta_W.B), delta_W.A.shape[1]
        measures = (stable_rank(S), effective_rank(S))
        expected = [f"{O} x {I}", "2", *(f"{m:.1f}" for m in measures), str(directions_for(S, 0.6))]
        assert cells[path] == [*expected, f"{np.linalg.norm(S):.3g}"]


def test_the_ranks_of_full_fine_tuning_beside_them(capsys, tmp_path):
    text = printed(
        capsys, "rank", "--adapter", "one.safetensors", "--tuned", "tuned.safetensors", "--plot", tmp_path / "ranks.png"
    )
    lora, full = text.split("full fine-tuning")
    assert len(rows_of(lora)) == 2 and rows_of(full)["blocks.0.attn.q_proj"][:2] == ["16 x 16", "16"]
    assert {"blocks.0.mlp.fc_out", "blocks.0.attn.o_proj"} < rows_of(full).keys() and "\nwte " in full
    assert (tmp_path / "ranks.png").read_bytes().startswith(PNG)


def test_the_elimination_of_a_matrix_is_drawn(drawn, capsys, tmp_path):
    text = printed(capsys, "rank", "1,2;2,5;2,4", "--plot", tmp_path / "steps.png")
    assert text.endswith(f"{tmp_path}/steps.png: the elimination, step by step\n")
    (figure,) = drawn
    assert [title_of(axes) for axes in figure.axes][1:] == ["row 2 minus 2 times row 1", "row 3 minus 2 times row 1"]
    assert (tmp_path / "steps.png").read_bytes().startswith(PNG)


def test_the_weights_of_the_model_beside_what_was_added(capsys):
    text = printed(capsys, "rank", "--weights", "--adapter", "one.safetensors", "--layers", "fc_in,wte")
    of_W, of_lora = text.split("LoRA")
    S = singular_values(byte_gpt().blocks[0].mlp.fc_in.W.data)
    assert list(rows_of(of_W)) == ["blocks.0.mlp.fc_in"] and "\nwte  " in of_W and "\nwpe" not in text
    assert rows_of(of_W)["blocks.0.mlp.fc_in"][2:4] == [f"{stable_rank(S):.1f}", f"{effective_rank(S):.1f}"]
    assert list(rows_of(of_lora)) == ["blocks.0.mlp.fc_in"] and rows_of(of_lora)["blocks.0.mlp.fc_in"][1] == "2"


def test_of_several_matrices_the_ranks_are_drawn(drawn, capsys, tmp_path):
    printed(
        capsys,
        "rank",
        "--weights",
        "--tuned",
        "tuned.safetensors",
        "--layers",
        "q_proj,v_proj",
        "--share",
        60,
        "--plot",
        tmp_path / "ranks.png",
    )
    printed(capsys, "rank", "--weights", "--layers", "q_proj,v_proj", "--plot", tmp_path / "ranks.png")
    printed(
        capsys,
        "rank",
        "--weights",
        "--tuned",
        "tuned.safetensors",
        "--layers",
        "q_proj",
        "--plot",
        tmp_path / "ranks.png",
    )
    labels = [[text.get_text() for text in figure.axes[0].get_legend().get_texts()] for figure in drawn]
    rows_drawn = [[row.get_text() for row in figure.axes[0].get_yticklabels()] for figure in drawn]
    assert labels == [["W", "full fine-tuning"], ["W"], ["W", "full fine-tuning"]]
    assert rows_drawn == [[Q_PROJ, V_PROJ], [Q_PROJ, V_PROJ], [Q_PROJ]]
    assert ["60 %" in title_of(figure.axes[0]) for figure in drawn] == [True, False, False]


@pytest.mark.parametrize("kind", ["roberta", "roberta-masked-lm"])
def test_a_classifier_that_was_fine_tuned_is_compared_with_the_encoder_it_began_as(kind, tmp_path, capsys):
    save_model(byte_encoder(kind), tmp_path / "base.safetensors")
    base = getattr(byte_encoder(kind), "encoder", byte_encoder(kind))
    tuned = new_classifier(byte_encoder(kind), 2, np.random.default_rng(0))
    tuned.encoder.blocks[1].attn.q_proj.W.data[0] += 1
    save_model(tuned, tmp_path / "tuned.safetensors")
    assert (
        main(["rank", "--model", str(tmp_path / "base.safetensors"), "--tuned", str(tmp_path / "tuned.safetensors")])
        == 0
    )
    rows = rows_of(capsys.readouterr().out)
    assert {path for path, cells in rows.items() if cells[1] != "0"} == {"blocks.1.attn.q_proj"}
    assert len(rows) == 6 * len(base.blocks)


def test_a_model_of_another_kind_was_not_made_by_tuning(tmp_path, capsys):
    save_model(byte_encoder(), tmp_path / "encoder.safetensors")
    arguments = ["rank", *MODEL, "--tuned", tmp_path / "encoder.safetensors"]
    check_refused(
        arguments, r"--tuned was .*, a Roberta; it must be a GPT, as the model that it began as", tmp_path, capsys
    )


@pytest.mark.parametrize("source", [("--weights",), ("--tuned", "tuned.safetensors"), ("--adapter", "one.safetensors")])
def test_of_one_matrix_the_cut_is_drawn_where_it_has_the_share(source, drawn, lora_models, capsys, tmp_path):
    text = printed(capsys, "rank", *source, "--layers", "q_proj", "--share", 70, "--plot", tmp_path / "cut.png")
    r = int(rows_of(text)[Q_PROJ][4])
    (figure,) = drawn
    whole, approximation, *_ = (axes.get_images()[0].get_array() for axes in figure.axes[:3])
    assert title_of(figure.axes[1]).startswith(f"$BA$, rank {r}:")
    assert np.linalg.matrix_rank(approximation) == r
    assert (np.linalg.norm(approximation) / np.linalg.norm(whole)) ** 2 >= 0.7
    if source[0] == "--adapter":
        np.testing.assert_allclose(whole, delta_weights(lora_models["one"])[Q_PROJ])


WRONG = {
    "no number": (["rank", "1,two"], "the matrix held two; each entry must be a number such as 2, 1/3"),
    "NaN": (["rank", "1,nan;2,3"], "the matrix held nan"),
    "rows of unlike length": (["rank", "1,2;3"], r"M had rows of \[1, 2\] entries"),
    "layers of a matrix": (
        ["rank", "--layers", "q_proj"],
        "--layers was given, but a matrix does not use it; it needs --weights, --adapter or",
    ),
    "too many steps": (
        ["rank", ";".join(",".join(str(int(j <= i)) for j in range(8)) for i in range(8)), "--plot", "p.png"],
        r"the elimination had 29 steps, with the matrix itself; it must have at most 24",
    ),
    "no layer of the model": (["rank", "--weights", "--layers", "w_q"], "--layers was 'w_q'; there are wte, wpe, bl"),
    "a delta W of zero": (
        ["rank", "--adapter", "start.safetensors", "--layers", "q_proj", "--plot", "p.png"],
        "blocks.0.attn.q_proj is zero; there is nothing to draw",
    ),
    "share": (
        ["rank", "--adapter", "one.safetensors", "--share", "101"],
        "--share was 101; it must be a number above 0, to 100$",
    ),
    "plot is a folder": (["rank", "--adapter", "one.safetensors", "--plot", "."], r"was \., a folder; .* ranks.png"),
    "no such model": (
        ["rank", "--tuned", "none.safetensors"],
        "--tuned was none.safetensors; there is no such file or folder",
    ),
    "rank of BitFit": (["rank", "--adapter", "bitfit.safetensors"], "bitfit.safetensors holds no LoRA adapter"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    of_matrix = not {"--adapter", "--tuned", "--weights"} & set(arguments)
    check_refused([*arguments, *(() if of_matrix else MODEL)], message, folder, capsys)
