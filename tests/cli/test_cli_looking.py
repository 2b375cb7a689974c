"""`minilora rank` and `subspace`: what is printed of a matrix, of adapters, and of a fully fine-tuned model."""

import re

import numpy as np
import pytest

import minilora
from experiments.tiny import byte_gpt
from methods.tiny import with_B
from minilora.analysis import (
    adapter_changes,
    adapter_factors,
    amplification_factor,
    delta_weights,
    directions_for,
    effective_rank,
    random_control,
    singular_values,
    stable_rank,
    subspace_similarity,
    svd_of,
)
from minilora.cli import main
from minilora.methods import lora_layers

PNG = b"\x89PNG\r\n\x1a\n"
Q_PROJ, V_PROJ = "blocks.0.attn.q_proj", "blocks.0.attn.v_proj"


def adapted(rank, targets=("q_proj", "fc_in"), seed=1, **lora):
    model = byte_gpt()
    config = minilora.LoRAConfig(rank=rank, targets=targets, **lora)
    minilora.apply_lora(model, config, rng=np.random.default_rng(seed))
    return with_B(model, seed)


@pytest.fixture(scope="module")
def models():
    return {
        "one": adapted(2),
        "two": adapted(3, ("fc_in", "v_proj"), seed=2),
        "none_in_common": adapted(2, ("o_proj",)),
        "dora": adapted(2, dora=True),
    }


@pytest.fixture(scope="module")
def folder(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("looking")
    minilora.save_model(byte_gpt(), folder / "model.safetensors")
    tuned = byte_gpt()
    rng = np.random.default_rng(5)
    for p in tuned.parameters():
        p.data += 0.1 * rng.standard_normal(p.data.shape)
    minilora.save_model(tuned, folder / "tuned.safetensors")
    for name, model in models.items():
        minilora.save_adapter(model, folder / f"{name}.safetensors")
    start = byte_gpt()
    minilora.apply_lora(start, minilora.LoRAConfig(rank=2), rng=rng)
    minilora.save_adapter(start, folder / "start.safetensors")
    bitfit = byte_gpt()
    minilora.apply_method(bitfit, "bitfit")
    minilora.save_adapter(bitfit, folder / "bitfit.safetensors")
    return folder


@pytest.fixture(autouse=True)
def in_the_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


def printed(capsys, verb, *arguments):
    of_layers = verb == "subspace" or {"--adapter", "--tuned", "--weights"} & set(arguments)
    model = MODEL if of_layers else ()
    assert main([verb, *map(str, arguments), *model]) == 0
    return capsys.readouterr().out


MODEL = ("--model", "model.safetensors")


def rows(text):
    """The cells of each layer, by its path."""
    lines = [re.split(r"\s{2,}", line) for line in text.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if cells[0].startswith("blocks.")}


# ---- rank


def test_the_matrix_of_the_textbook(capsys):
    text = printed(capsys, "rank")
    assert "row 2 minus 2 times row 1\n    [ 1  2 ]\n    [ 0  1 ]\n    [ 2  4 ]\n" in text
    assert "2 rows are not zero: row rank 2\n" in text and "2 rows are not zero: column rank 2\n" in text
    assert text.endswith("Singular values: 7.342, 0.3046\nof which more than rounding: 2\n")
    assert text == printed(capsys, "rank", "1,2;2,5;2,4")


def test_fractions_and_decimals(capsys):
    text = printed(capsys, "rank", "--", "-0.1, 0.3; 1/3, -1")
    assert "row 2 plus 10/3 times row 1" in text and "1 row is not zero: row rank 1" in text
    assert text.endswith("of which more than rounding: 1\n")


def test_the_ranks_of_an_adapter_layer_by_layer(models, capsys):
    cells = rows(printed(capsys, "rank", "--adapter", "one.safetensors", "--share", 60))
    factors = adapter_factors(models["one"])
    assert list(cells) == list(factors) == ["blocks.0.attn.q_proj", "blocks.0.mlp.fc_in"]
    for path, delta_W in factors.items():
        S = singular_values(delta_W)
        O, I = len(delta_W.B), delta_W.A.shape[1]
        measures = (stable_rank(S), effective_rank(S))
        expected = [f"{O} x {I}", "2", *(f"{m:.1f}" for m in measures), str(directions_for(S, 0.6))]
        assert cells[path] == [*expected, f"{np.linalg.norm(S):.3g}"]


def test_the_ranks_of_full_fine_tuning_beside_them(capsys, tmp_path):
    text = printed(capsys, "rank", "--adapter", "one.safetensors", "--tuned", "tuned.safetensors",
                   "--plot", tmp_path / "ranks.png")  # fmt: skip
    lora, full = text.split("full fine-tuning")
    assert len(rows(lora)) == 2 and rows(full)["blocks.0.attn.q_proj"][:2] == ["16 x 16", "16"]
    assert {"blocks.0.mlp.fc_out", "blocks.0.attn.o_proj"} < rows(full).keys() and "\nwte " in full
    assert (tmp_path / "ranks.png").read_bytes().startswith(PNG)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    from minilora import plots

    figures, save = [], plots.save
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure) or save(figure, path))
    return figures


def test_the_elimination_of_a_matrix_is_drawn(drawn, capsys, tmp_path):
    text = printed(capsys, "rank", "1,2;2,5;2,4", "--plot", tmp_path / "steps.png")
    assert text.endswith(f"{tmp_path}/steps.png: the elimination, step by step\n")
    (figure,) = drawn
    assert [axes.get_title() for axes in figure.axes][1:] == ["row 2 minus 2 times row 1", "row 3 minus 2 times row 1"]
    assert (tmp_path / "steps.png").read_bytes().startswith(PNG)


def test_the_weights_of_the_model_beside_what_was_added(capsys):
    text = printed(capsys, "rank", "--weights", "--adapter", "one.safetensors", "--layers", "fc_in,wte")
    of_W, of_lora = text.split("LoRA")
    S = singular_values(byte_gpt().blocks[0].mlp.fc_in.W.data)
    assert list(rows(of_W)) == ["blocks.0.mlp.fc_in"] and "\nwte  " in of_W and "\nwpe" not in text
    assert rows(of_W)["blocks.0.mlp.fc_in"][2:4] == [f"{stable_rank(S):.1f}", f"{effective_rank(S):.1f}"]
    assert list(rows(of_lora)) == ["blocks.0.mlp.fc_in"] and rows(of_lora)["blocks.0.mlp.fc_in"][1] == "2"


def test_of_several_matrices_the_ranks_are_drawn(drawn, capsys, tmp_path):
    printed(capsys, "rank", "--weights", "--tuned", "tuned.safetensors", "--layers", "q_proj,v_proj", "--share", 60,
            "--plot", tmp_path / "ranks.png")  # fmt: skip
    printed(capsys, "rank", "--weights", "--layers", "q_proj,v_proj", "--plot", tmp_path / "ranks.png")
    printed(capsys, "rank", "--weights", "--tuned", "tuned.safetensors", "--layers", "q_proj", "--plot",
            tmp_path / "ranks.png")  # fmt: skip
    labels = [[text.get_text() for text in figure.legends[0].get_texts()] for figure in drawn]
    rows_drawn = [[row.get_text() for row in figure.axes[0].get_yticklabels()] for figure in drawn]
    assert labels == [["W", "full fine-tuning"], ["W"], ["W", "full fine-tuning"]]
    assert rows_drawn == [[Q_PROJ, V_PROJ], [Q_PROJ, V_PROJ], [Q_PROJ]]
    assert ["60 %" in figure.axes[0].get_xlabel() for figure in drawn] == [True, False, False]


@pytest.mark.parametrize("source", [("--weights",), ("--tuned", "tuned.safetensors"), ("--adapter", "one.safetensors")])
def test_of_one_matrix_the_cut_is_drawn_where_it_has_the_share(source, drawn, models, capsys, tmp_path):
    text = printed(capsys, "rank", *source, "--layers", "q_proj", "--share", 70, "--plot", tmp_path / "cut.png")
    r = int(rows(text)[Q_PROJ][4])
    (figure,) = drawn
    whole, approximation, *_ = (-axes.get_images()[0].get_array() for axes in figure.axes[:3])
    assert figure.axes[1].get_title().startswith(f"$BA$, rank {r}:")
    assert np.linalg.matrix_rank(approximation) == r
    assert (np.linalg.norm(approximation) / np.linalg.norm(whole)) ** 2 >= 0.7
    if source[0] == "--adapter":
        np.testing.assert_allclose(whole, delta_weights(models["one"])[Q_PROJ])


# ---- subspace


def test_two_adapters_and_the_control(models, capsys, tmp_path):
    text = printed(capsys, "subspace", "--adapter", "one.safetensors", "--other", "two.safetensors",
                   "--of", "A", "--plot", tmp_path / "phi.png")  # fmt: skip
    A1, A2 = (adapter_factors(models[name])["blocks.0.mlp.fc_in"].A for name in ("one", "two"))
    phi = subspace_similarity(A1, A2)
    cells = rows(text)
    assert list(cells) == ["blocks.0.mlp.fc_in"]
    places = [f"{value:.3f}" for value in (phi[0, 0], phi[0, -1], phi[-1, -1])]
    control = f"{random_control(2, 3, 16)[-1, -1]:.3f}"
    assert cells["blocks.0.mlp.fc_in"][:5] == [*places, "2, 3", control]
    assert (tmp_path / "phi.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("of", ["delta", "A", "B"])
def test_an_adapter_agrees_with_itself(of, capsys, tmp_path):
    text = printed(capsys, "subspace", "--adapter", "two.safetensors", "--other", "two.safetensors", "--of", of,
                   "--directions", 2, "--plot", tmp_path / "phi.png")  # fmt: skip
    width = {"blocks.0.attn.v_proj": 16, "blocks.0.mlp.fc_in": 64 if of == "B" else 16}
    assert rows(text) == {path: ["1.000", "1.000", "1.000", "2, 2", f"{2 / n:.3f}", "0.0"] for path, n in width.items()}


def test_an_adapter_beside_w(models, capsys, tmp_path):
    text = printed(capsys, "subspace", "--adapter", "one.safetensors", "--layers", "fc_in, x",
                   "--plot", tmp_path / "phi.png")  # fmt: skip
    cells = rows(text)
    assert list(cells) == ["blocks.0.mlp.fc_in"]
    layer, delta_W = (d["blocks.0.mlp.fc_in"] for d in (lora_layers(models["one"]), adapter_changes(models["one"])))
    W = layer.base.W.data
    weight = np.linalg.norm(singular_values(W)[:2])
    numbers = (np.linalg.norm(W), np.linalg.norm(svd_of(delta_W).S), amplification_factor(W, delta_W))
    assert cells["blocks.0.mlp.fc_in"][0] == "2" and cells["blocks.0.mlp.fc_in"][2] == f"{weight:.3g}"
    assert cells["blocks.0.mlp.fc_in"][4:] == [f"{number:.3g}" for number in numbers]
    assert (tmp_path / "phi.png").read_bytes().startswith(PNG)


def test_dora_has_a_delta_too(capsys):
    assert len(rows(printed(capsys, "rank", "--adapter", "dora.safetensors"))) == 2
    assert len(rows(printed(capsys, "subspace", "--adapter", "dora.safetensors", "--directions", 3))) == 2


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
        r"the elimination had 29 steps, with the matrix itself; up to 24 can be drawn",
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
    "no adapter": (["subspace"], "--adapter was not given"),
    "of A beside W": (
        ["subspace", "--adapter", "one.safetensors", "--of", "A"],
        "--of was given, but without --other delta W is compared with W",
    ),
    "no layer in common": (
        ["subspace", "--adapter", "one.safetensors", "--other", "none_in_common.safetensors"],
        "no layer in common: blocks.0.attn.q_proj, blocks.0.mlp.fc_in; blocks.0.attn.o_proj",
    ),
    "no such layer": (
        ["subspace", "--adapter", "one.safetensors", "--layers", "w_q"],
        "--layers was 'w_q'; there are blocks.0.attn.q_proj, blocks.0.mlp.fc_in",
    ),
    "a rank too large": (
        ["subspace", "--adapter", "one.safetensors", "--directions", "3"],
        "--directions was 3; it \\w+ be an integer from 1 to 2, the rank of delta_W",
    ),
    "directions too many": (
        ["subspace", "--adapter", "one.safetensors", "--other", "two.safetensors", "--directions", "3"],
        "--directions was 3; it must be from 1 to the rank of delta of blocks.0.mlp.fc_in, which is 2",
    ),
    "directions 0": (
        ["subspace", "--adapter", "two.safetensors", "--other", "two.safetensors", "--directions", "0"],
        "--directions was 0; it must be an integer from 1 to ",
    ),
    "B at the start": (["subspace", "--adapter", "start.safetensors"], "to 0, the rank of delta_W"),
    "of DoRA's A": (
        ["subspace", "--adapter", "dora.safetensors", "--other", "dora.safetensors", "--of", "A"],
        "DoRA's delta W is no product",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    before = sorted(folder.iterdir())
    of_matrix = arguments[0] == "rank" and not {"--adapter", "--tuned", "--weights"} & set(arguments)
    assert main([*arguments, *(() if of_matrix else MODEL)]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert said.out == "" and line.startswith(f"minilora {arguments[0]}: ") and re.search(message, line)
    assert sorted(folder.iterdir()) == before
