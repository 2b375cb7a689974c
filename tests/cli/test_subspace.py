"""`minilora subspace`: two adapters, and an adapter beside W."""

import numpy as np
import pytest

from cli.running import PNG, check_refused, rows_of
from minilora.analysis import (
    adapter_changes,
    adapter_factors,
    amplification_factor,
    singular_values,
    subspace_similarity,
    svd_of,
    z_scores,
)
from minilora.cli import main
from minilora.methods import lora_layers


@pytest.fixture(autouse=True)
def folder(lora_folder, monkeypatch):
    monkeypatch.chdir(lora_folder)
    return lora_folder


MODEL = ("--model", "model.safetensors")


def printed(capsys, verb, *arguments):
    of_layers = verb == "subspace" or {"--adapter", "--tuned", "--weights"} & set(arguments)
    model = MODEL if of_layers else ()
    assert main([verb, *map(str, arguments), *model]) == 0
    return capsys.readouterr().out


def test_two_adapters_and_the_control(lora_models, capsys, tmp_path):
    text = printed(
        capsys,
        "subspace",
        "--adapter",
        "one.safetensors",
        "--other",
        "two.safetensors",
        "--of",
        "A",
        "--plot",
        tmp_path / "phi.png",
    )
    A1, A2 = (adapter_factors(lora_models[name])["blocks.0.mlp.fc_in"].A for name in ("one", "two"))
    phi = subspace_similarity(A1, A2)
    cells = rows_of(text)
    assert list(cells) == ["blocks.0.mlp.fc_in"]
    z = z_scores(phi, 16)
    places = [f"{v:.{n}f}" for at in ((0, 0), (0, -1), (-1, -1)) for v, n in ((phi[at], 3), (z[at], 1))]
    assert cells["blocks.0.mlp.fc_in"][:7] == [*places, "2, 3"]
    assert (tmp_path / "phi.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("of", ["delta", "A", "B"])
def test_an_adapter_agrees_with_itself(of, capsys, tmp_path):
    text = printed(
        capsys,
        "subspace",
        "--adapter",
        "two.safetensors",
        "--other",
        "two.safetensors",
        "--of",
        of,
        "--directions",
        2,
        "--plot",
        tmp_path / "phi.png",
    )
    width = {"blocks.0.attn.v_proj": 16, "blocks.0.mlp.fc_in": 64 if of == "B" else 16}
    for path, n in width.items():
        z = z_scores(np.ones((2, 2)), n)
        phi_and_z = [text for at in ((0, 0), (0, 1), (1, 1)) for text in ("1.000", f"{z[at]:.1f}")]
        assert rows_of(text)[path] == [*phi_and_z, "2, 2", "0.0"]
    assert rows_of(text).keys() == width.keys()


def test_an_adapter_beside_w(lora_models, capsys, tmp_path):
    text = printed(
        capsys, "subspace", "--adapter", "one.safetensors", "--layers", "fc_in, x", "--plot", tmp_path / "phi.png"
    )
    cells = rows_of(text)
    assert list(cells) == ["blocks.0.mlp.fc_in"]
    layer, delta_W = (
        d["blocks.0.mlp.fc_in"] for d in (lora_layers(lora_models["one"]), adapter_changes(lora_models["one"]))
    )
    W = layer.base.W.data
    weight = np.linalg.norm(singular_values(W)[:2])
    numbers = (np.linalg.norm(W), np.linalg.norm(svd_of(delta_W).S), amplification_factor(W, delta_W))
    assert cells["blocks.0.mlp.fc_in"][0] == "2" and cells["blocks.0.mlp.fc_in"][2] == f"{weight:.3g}"
    assert cells["blocks.0.mlp.fc_in"][4:] == [f"{number:.3g}" for number in numbers]
    assert (tmp_path / "phi.png").read_bytes().startswith(PNG)


def test_dora_has_a_delta_too(capsys):
    assert len(rows_of(printed(capsys, "rank", "--adapter", "dora.safetensors"))) == 2
    assert len(rows_of(printed(capsys, "subspace", "--adapter", "dora.safetensors", "--directions", 3))) == 2


WRONG = {
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
    "B at the start": (["subspace", "--adapter", "start.safetensors"], "delta_W was zero, as it is while B is"),
    "of DoRA's A": (
        ["subspace", "--adapter", "dora.safetensors", "--other", "dora.safetensors", "--of", "A"],
        r"this delta W \(DoRA's, a random subspace's\) is no product",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    check_refused([*arguments, *MODEL], message, folder, capsys)
