"""A matrix's row and column, from its name alone."""

import pytest

from minilora.experiments.grid import places


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["blocks.0.attn.q_proj", "blocks.11.mlp.fc_in"], [(0, "q_proj"), (11, "fc_in")]),
        (["model.layers.3.self_attn.q_proj", "lm_head"], [(3, "q_proj"), None]),
        (["blk.2.attn_q", "output"], [(2, "attn_q"), None]),
        (
            ["h.0.attn.c_proj", "h.0.mlp.c_proj", "h.1.mlp.c_proj"],
            [(0, "attn.c_proj"), (0, "mlp.c_proj"), (1, "mlp.c_proj")],
        ),
        (["layers.1.experts.0.w1", "layers.1.experts.7.w1"], [(1, "0.w1"), (1, "7.w1")]),
        (
            ["encoder.block.0.SelfAttention.q", "decoder.block.0.SelfAttention.q"],
            [(0, "encoder.block: SelfAttention.q"), (0, "decoder.block: SelfAttention.q")],
        ),
        (["0.q", "99999999999.q"], [(0, "q"), None]),
        ([], []),
    ],
)
def test_places(names, expected):
    assert list(places(names).values()) == expected
