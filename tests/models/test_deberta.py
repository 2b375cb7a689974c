"""DeBERTa's forward (a golden file compares it with transformers): padding, positions, and what users get wrong."""

import re
from dataclasses import replace

import numpy as np
import pytest

from minilora.methods import LoRAConfig, apply_lora
from minilora.models import Deberta, DebertaConfig, DebertaForClassification
from models.tiny_deberta import BATCH, CONFIG, IDS, LABELS, MASK, WITHOUT_CONV, tiny_classifier, tiny_encoder
from models.tiny_encoders import loss_with_dropout, rng

both_shapes = pytest.mark.parametrize("config", [CONFIG, WITHOUT_CONV], ids=["convolution", "no convolution"])


# ---- padding


@both_shapes
@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 0), (2, 1)])
def test_a_token_does_not_depend_on_padding_nor_on_where_it_stands(config, before, after):
    padding = ((0, 0), (before, after))
    ids, mask = np.pad(IDS, padding), np.pad(MASK, padding)
    model = tiny_encoder(config=config)
    x, padded = model.forward(IDS, MASK)[0], model.forward(ids, mask)[0]
    assert np.allclose(padded[mask], x[MASK], rtol=0, atol=1e-13)


@both_shapes
def test_logits_do_not_depend_on_padding(config):
    model = tiny_classifier(config=config)
    ids, mask = np.pad(IDS, ((0, 0), (0, 4))), np.pad(MASK, ((0, 0), (0, 4)))
    assert np.allclose(model.forward(ids, mask)[0], model.forward(IDS, MASK)[0], rtol=0, atol=1e-13)


def test_what_stands_where_padding_is_does_not_matter():
    model = tiny_classifier()
    assert np.array_equal(model.forward(np.where(MASK, IDS, 12), MASK)[0], model.forward(IDS, MASK)[0])


def test_one_row_gives_what_it_gives_in_a_batch():
    model = tiny_classifier()
    together, _ = model.forward(IDS, MASK)
    for n in range(2):
        alone, _ = model.forward(IDS[n : n + 1], MASK[n : n + 1])
        assert np.allclose(alone[0], together[n], rtol=0, atol=1e-13)


def test_without_a_mask_padding_is_seen():
    model = tiny_classifier()
    without, _ = model.forward(IDS)
    assert np.allclose(without, model.forward(IDS, np.ones_like(MASK))[0], rtol=0, atol=1e-14)
    assert not np.allclose(without[1], model.forward(IDS, MASK)[0][1])


def test_what_leaves_the_convolution_is_zero_where_padding_is():
    x, _ = tiny_encoder(config=replace(CONFIG, n_layer=1)).forward(IDS, MASK)
    assert not x[~MASK].any()


def test_a_mask_that_hides_nothing_is_not_placed():
    model = tiny_encoder()
    assert model.to_model(IDS, np.ones_like(MASK))[1] is None
    assert model.to_model(IDS, None)[1] is None
    assert np.array_equal(model.to_model(IDS, MASK)[1], MASK)


def test_a_mask_of_integers_is_a_mask():
    model = tiny_classifier()
    assert np.array_equal(model.forward(IDS, MASK.astype("int64"))[0], model.forward(IDS, MASK)[0])


# ---- positions


def test_every_token_sees_every_other():
    model = tiny_encoder()
    x, _ = model.forward(IDS[:1])
    for t in range(9):
        changed = IDS[:1].copy()
        changed[0, t] = 10
        assert not np.isclose(model.forward(changed)[0], x).all(axis=-1).any()


@both_shapes
def test_the_order_of_tokens_matters(config):
    model = tiny_classifier(config=config)
    turned = np.concatenate([IDS[:, :1], IDS[:, :0:-1]], axis=1)
    assert not np.isclose(model.forward(turned)[0], model.forward(IDS)[0]).any()


def test_without_relative_embeddings_and_convolution_only_which_tokens_there_are_matters():
    model = tiny_classifier(config=WITHOUT_CONV)
    model.encoder.ln_r.gain.data[...] = model.encoder.ln_r.bias.data[...] = 0.0
    turned = np.concatenate([IDS[:, :1], IDS[:, :0:-1]], axis=1)
    assert np.allclose(model.forward(turned)[0], model.forward(IDS)[0], rtol=0, atol=1e-12)


def test_sequences_may_be_longer_than_the_longest_distance():
    model = tiny_classifier()
    ids = rng(3).integers(0, 13, (2, 40))
    logits, cache = model.forward(ids)
    assert logits.shape == (2, 6)
    rows = cache.encoder.blocks[0].attn.core.distance_rows
    assert len(rows) == 81
    assert rows.min() == 0 and rows.max() == 13


def test_the_cache_shows_who_looks_at_whom():
    _, cache = tiny_encoder().forward(IDS, MASK)
    probs = cache.blocks[2].attn.probs
    assert probs.shape == (2, 4, 9, 9)
    assert np.allclose(probs.sum(axis=-1), MASK[:, None], rtol=0, atol=1e-14)
    assert not probs.swapaxes(-1, -2)[~np.broadcast_to(MASK[:, None], (2, 4, 9))].any()


# ---- the head


def test_a_classifier_reads_the_first_position_alone():
    model = tiny_classifier()
    x = rng(4).standard_normal((2, 9, 12))
    logits, _ = model.head.forward(x)
    other = x.copy()
    other[:, 1:] = 0.0
    assert logits.shape == (2, 6)
    assert np.array_equal(model.head.forward(other)[0], logits)


def test_a_pretrained_encoder_gets_a_new_head():
    encoder = tiny_encoder("float32")
    config = replace(encoder.config, n_classes=8)
    model = DebertaForClassification(config, rng(5), encoder=encoder)
    assert model.encoder is encoder and model.config == config
    assert model.forward(IDS, MASK)[0].shape == (2, 8)
    assert {p.data.dtype for p in model.parameters()} == {np.dtype("float32")}


def test_an_encoder_of_another_shape_gets_no_head():
    with pytest.raises(ValueError, match="it must equal the encoder's, .*, except for n_classes"):
        DebertaForClassification(replace(CONFIG, n_buckets=6), rng(), encoder=tiny_encoder())


# ---- parameters

BLOCK = [
    *(f"attn.{name}_proj.{kind}" for name in "qkvo" for kind in ("W", "bias")),
    "ln_1.gain",
    "ln_1.bias",
    *(f"mlp.{name}.{kind}" for name in ("fc_in", "fc_out") for kind in ("W", "bias")),
    "ln_2.gain",
    "ln_2.bias",
]
TABLES = ["wte.W", "ln_e.gain", "ln_e.bias", "wre.W", "ln_r.gain", "ln_r.bias"]
CONV = ["conv.W", "conv.bias", "conv.ln.gain", "conv.ln.bias"]


@both_shapes
def test_parameters_are_named_in_definition_order(config):
    blocks = [f"blocks.{i}.{name}" for i in range(3) for name in BLOCK]
    expected = TABLES + blocks + (CONV if config.conv_kernel_size else [])
    assert [name for name, _ in tiny_encoder(config=config).named_parameters()] == expected
    model = tiny_classifier(config=config)
    head = [f"head.{name}.{kind}" for name in ("dense", "out_proj") for kind in ("W", "bias")]
    assert [p.name for p in model.parameters()] == [f"encoder.{name}" for name in expected] + head


def test_weights_start_as_they_do_in_bert():
    p = dict(Deberta(replace(CONFIG, d_model=48, d_mlp=40), rng(), dtype="float64").named_parameters())
    for name in ("wte.W", "wre.W", "conv.W", "blocks.1.attn.o_proj.W"):
        assert p[name].data.std() == pytest.approx(0.02, rel=0.1)
    assert all((p.data == 1.0).all() for name, p in p.items() if name.endswith("gain"))
    assert not any(p.data.any() for name, p in p.items() if name.endswith("bias"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_computes_in_its_own_dtype(dtype):
    model = tiny_classifier(dtype)
    loss, cache = model.loss(BATCH)
    model.backward_loss(0.5, cache)
    assert loss.dtype == model.forward(IDS, MASK)[0].dtype == dtype
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(dtype)}


def test_dropout_of_an_adapter_is_drawn_from_the_rng():
    model = tiny_classifier()
    apply_lora(model, LoRAConfig(rank=2, dropout=0.5), rng=rng(1))
    for name, p in model.named_parameters():
        if name.endswith(".B"):
            p.data[...] = 1.0
    plain, same, once, again = (loss_with_dropout(model, BATCH, r) for r in (None, None, rng(2), rng(2)))
    assert plain == same != once == again


# ---- what users get wrong

SHAPE = {"vocab_size": 13, "n_layer": 2, "d_model": 12, "n_head": 3}
WRONG_SHAPES = [
    ({"vocab_size": 0}, "vocab_size was 0; it must be an integer of at least 1"),
    ({"n_layer": True}, "n_layer was True; it must be an integer of at least 1"),
    ({"d_mlp": 2.0}, "d_mlp was 2.0; it must be an integer of at least 1"),
    ({"n_buckets": 1}, "n_buckets was 1; it must be an integer of at least 2"),
    ({"max_distance": 129}, "max_distance was 129; with n_buckets = 256 it must be an integer of at least 130"),
    ({"conv_kernel_size": -1}, "conv_kernel_size was -1; it must be an integer of at least 0"),
    ({"conv_kernel_size": 4}, "conv_kernel_size was 4; it must be odd, or 0 for no convolution"),
    ({"n_head": 5}, "n_head was 5; it must divide d_model = 12"),
    ({"layer_norm_eps": float("nan")}, "layer_norm_eps was nan; it must be a finite number of at least 0"),
    ({"n_classes": None}, "n_classes was None; it must be an integer of at least 1"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_SHAPES, ids=[str(wrong) for wrong, _ in WRONG_SHAPES])
def test_a_wrong_configuration_is_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        DebertaConfig(**SHAPE | wrong)


def test_the_mlp_is_four_times_as_wide_if_not_said():
    assert DebertaConfig(**SHAPE).d_mlp == 48


WRONG_INPUTS = {
    "an id too large": (np.array([[0, 13]]), None, "ids ran from 0 to 13; each must be from 0 to 12"),
    "float ids": (np.array([[0.0, 1.0]]), None, "ids had shape (1, 2) and dtype float64"),
    "one axis": (np.array([1, 2]), None, "ids had shape (2,) and dtype int64"),
    "no token": (np.zeros((2, 0), int), None, "ids had shape (2, 0)"),
    "a mask of another shape": (
        IDS,
        MASK[:, :3],
        "padding_mask had shape (2, 3) and dtype bool; it must be booleans of",
    ),
    "a mask of floats": (
        IDS,
        MASK * 1.0,
        "padding_mask had shape (2, 9) and dtype float64; it must be booleans of ids' shape",
    ),
}


@pytest.mark.parametrize(("ids", "mask", "message"), WRONG_INPUTS.values(), ids=WRONG_INPUTS.keys())
@pytest.mark.parametrize("method", ["forward", "to_model"])
def test_wrong_inputs_are_refused(method, ids, mask, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(tiny_encoder(), method)(ids, mask)


def test_wrong_labels_are_refused():
    model = tiny_classifier()
    with pytest.raises(
        ValueError, match=re.escape("labels had shape (1,) and dtype int64; it must be integers of shape (2,)")
    ):
        model.loss(BATCH._replace(labels=LABELS[:1]))
    with pytest.raises(ValueError, match="targets ran from 1 to 9; each must be from 0 to 5"):
        model.loss(BATCH._replace(labels=np.where(LABELS == 4, 9, LABELS)))
