"""RoBERTa's forward, which golden files compare with transformers': padding, positions, heads, what users get wrong."""

import re
from dataclasses import replace

import numpy as np
import pytest

from minilora.data.classification import ClassificationBatch
from minilora.data.masked import MaskedBatch
from minilora.methods import LoRAConfig, apply_lora
from minilora.models import Roberta, RobertaConfig, RobertaForClassification, RobertaForMaskedLM
from models.tiny_deberta import tiny_classifier as tiny_deberta
from models.tiny_encoders import (
    ALL,
    BATCHES,
    CONFIG,
    COUNTED,
    HEADED,
    IDS,
    LABELS,
    MASK,
    PAD,
    TARGETS,
    loss_with_dropout,
    rng,
    tiny,
)


def at_tokens(model, y, mask=MASK):
    """The part of a model's result that means something: all of a classifier's, else what is no padding."""
    return y if isinstance(model, RobertaForClassification) else y[mask]


@pytest.fixture(params=ALL, ids=lambda model_class: model_class.__name__)
def model(request):
    return tiny(request.param)


# ---- padding


def padded(before, after):
    padding = ((0, 0), (before, after))
    return np.pad(IDS, padding, constant_values=PAD), np.pad(MASK, padding)


def test_the_result_does_not_depend_on_padding_behind(model):
    ids, mask = padded(0, 2)
    y, longer = model.forward(IDS, MASK)[0], model.forward(ids, mask)[0]
    assert np.allclose(at_tokens(model, longer, mask), at_tokens(model, y), rtol=0, atol=1e-13)


@pytest.mark.parametrize("model_class", [Roberta, RobertaForMaskedLM])  # a classifier reads the first position
def test_nor_on_padding_before(model_class):
    model, (ids, mask) = tiny(model_class), padded(1, 1)
    assert np.allclose(model.forward(ids, mask)[0][mask], model.forward(IDS, MASK)[0][MASK], rtol=0, atol=1e-13)


def test_one_row_gives_what_it_gives_in_a_batch(model):
    together, _ = model.forward(IDS, MASK)
    for n in range(3):
        alone, _ = model.forward(IDS[n : n + 1, MASK[n]], MASK[n : n + 1, MASK[n]])
        expected = together[n] if together.ndim == 2 else together[n, MASK[n]]
        assert np.allclose(alone[0], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("model_class", [Roberta, RobertaForMaskedLM])
def test_every_token_sees_every_other(model_class):
    model = tiny(model_class)
    y, _ = model.forward(IDS[:1], MASK[:1])
    for t in range(7):
        changed = IDS[:1].copy()
        changed[0, t] = 10
        assert not np.isclose(model.forward(changed, MASK[:1])[0], y).all(axis=-1).any()


def test_without_a_mask_padding_is_seen(model):
    everywhere = np.ones_like(MASK)
    without, _ = model.forward(IDS)
    assert np.allclose(without, model.forward(IDS, everywhere)[0], rtol=0, atol=1e-14)
    assert not np.allclose(at_tokens(model, without), at_tokens(model, model.forward(IDS, MASK)[0]))


def test_a_mask_of_integers_is_a_mask(model):
    assert np.array_equal(model.forward(IDS, MASK.astype("int64"))[0], model.forward(IDS, MASK)[0])


def test_positions_count_the_tokens_from_after_the_id_of_padding():
    model = tiny(Roberta)
    ids = np.array([[PAD, 4, 5, PAD, 6, PAD]])
    _, cache = model.hidden(ids, ids != PAD)
    assert cache.wpe.ids.tolist() == [[1, 2, 3, 1, 4, 1]]
    zero = tiny(Roberta, config=replace(CONFIG, pad_id=0))
    assert zero.hidden(ids)[1].wpe.ids.tolist() == [[1, 2, 3, 4, 5, 6]]
    assert zero.wpe.W.data.shape == (9 + 0 + 1, 12)


def test_the_longest_sequence_fits_the_table_of_positions(model):
    ids = np.full((1, 9), 5)
    _, cache = model.forward(ids)
    encoder_cache = cache if isinstance(model, Roberta) else cache.encoder
    assert encoder_cache.wpe.ids.max() == len(encoder_cache.wpe.W) - 1 == 10


# ---- the heads, and their losses


@pytest.mark.parametrize("make", [lambda: tiny(RobertaForClassification), tiny_deberta], ids=["RoBERTa", "DeBERTa"])
@pytest.mark.parametrize("dtype", [bool, int])
def test_a_classifier_refuses_a_mask_that_hides_the_position_that_it_reads(make, dtype):
    model, (ids, mask) = make(), padded(1, 1)
    mask = mask.astype(dtype)
    mask[0, 0] = True
    for call in (model.forward, model.to_model, lambda ids, mask: model.loss(ClassificationBatch(ids, mask, LABELS))):
        with pytest.raises(
            ValueError, match="padding_mask hid position 0 of row 1, which the head reads; padding must "
        ):
            call(ids, mask)
    mask[:, 0] = True
    assert model.forward(ids, mask)[0].shape == (3, model.config.n_classes)


def test_a_classifier_reads_the_first_position_alone():
    model = tiny(RobertaForClassification)
    x = rng(4).standard_normal((3, 7, 12))
    logits, _ = model.head.forward(x)
    assert logits.shape == (3, 5)
    p = {name: p.data for name, p in model.head.named_parameters()}
    h = np.tanh(x[:, 0] @ p["dense.W"].T + p["dense.bias"])
    assert np.allclose(logits, h @ p["out_proj.W"].T + p["out_proj.bias"], rtol=0, atol=1e-13)


def test_the_decoder_is_tied_to_the_embedding():
    model = tiny(RobertaForMaskedLM)
    assert model.head.W is model.encoder.wte.W
    names = [name for name, _ in model.named_parameters()]
    assert "encoder.wte.W" in names and "head.W" not in names
    twin = model.replica()
    assert twin.head.W is twin.encoder.wte.W and twin.head.W.data is model.head.W.data


def test_a_masked_lm_with_nothing_that_counts_has_a_loss_of_zero():
    model = tiny(RobertaForMaskedLM)
    loss, cache = model.loss(MaskedBatch(IDS, MASK, TARGETS, np.zeros_like(COUNTED)))
    model.backward_loss(1.0, cache)
    assert loss == 0.0
    assert not any(p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("model_class", HEADED)
def test_a_pretrained_encoder_gets_a_new_head(model_class):
    encoder = tiny(Roberta, "float32")
    config = replace(encoder.config, n_classes=8)
    model = model_class(config, rng(5), encoder=encoder)
    assert model.encoder is encoder and model.config == config
    assert {p.data.dtype for p in model.parameters()} == {np.dtype("float32")}
    logits, _ = model.forward(IDS, MASK)
    assert logits.shape[-1] == {RobertaForClassification: 8, RobertaForMaskedLM: 13}[model_class]


@pytest.mark.parametrize("model_class", HEADED)
def test_an_encoder_of_another_shape_gets_no_head(model_class):
    with pytest.raises(ValueError, match="it must equal the encoder's, .*, except for n_classes"):
        model_class(replace(CONFIG, n_layer=3), rng(), encoder=tiny(Roberta))


# ---- parameters

BLOCK = [
    *(f"attn.{name}_proj.{kind}" for name in "qkvo" for kind in ("W", "bias")),
    "ln_1.gain",
    "ln_1.bias",
    *(f"mlp.{name}.{kind}" for name in ("fc_in", "fc_out") for kind in ("W", "bias")),
    "ln_2.gain",
    "ln_2.bias",
]
EMBEDDINGS = ["wte.W", "wtt.W", "wpe.W", "ln_e.gain", "ln_e.bias"]
ENCODER = EMBEDDINGS + [f"blocks.{i}.{name}" for i in range(2) for name in BLOCK]
HEADS = {
    Roberta: [],
    RobertaForClassification: ["dense.W", "dense.bias", "out_proj.W", "out_proj.bias"],
    RobertaForMaskedLM: ["dense.W", "dense.bias", "ln.gain", "ln.bias", "bias"],
}


def test_parameters_are_named_in_definition_order(model):
    prefix = "" if isinstance(model, Roberta) else "encoder."
    names = [name for name, _ in model.named_parameters()]
    assert names == [f"{prefix}{name}" for name in ENCODER] + [f"head.{name}" for name in HEADS[type(model)]]
    assert [p.name for p in model.parameters()] == names


def count_parameters(c):
    """How many parameters a RobertaForClassification of this configuration has."""
    C, F = c.d_model, c.d_mlp
    embeddings = (c.vocab_size + c.n_types + c.n_positions + c.pad_id + 1) * C + 2 * C
    block = 4 * (C * C + C) + (C * F + F) + (F * C + C) + 4 * C
    return embeddings + c.n_layer * block + (C * C + C) + (C * c.n_classes + c.n_classes)


def test_roberta_base_has_as_many_parameters_as_transformers_counts():
    assert sum(p.data.size for p in tiny(RobertaForClassification).parameters()) == count_parameters(CONFIG)
    base = RobertaConfig(vocab_size=50265, n_positions=512, n_layer=12, d_model=768, n_head=12)
    assert count_parameters(base) == 124_647_170


def test_weights_start_as_robertas():
    p = dict(RobertaForMaskedLM(replace(CONFIG, d_model=48, d_mlp=40), rng(), dtype="float64").named_parameters())
    for name in ("encoder.wte.W", "encoder.blocks.1.attn.o_proj.W", "encoder.blocks.0.mlp.fc_out.W", "head.dense.W"):
        assert p[name].data.std() == pytest.approx(0.02, rel=0.1)
    assert all((p.data == 1.0).all() for name, p in p.items() if name.endswith("gain"))
    assert not any(p.data.any() for name, p in p.items() if name.endswith("bias"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("model_class", HEADED)
def test_a_model_computes_in_its_own_dtype(model_class, dtype):
    model = tiny(model_class, dtype)
    loss, cache = model.loss(BATCHES[model_class][0])
    model.backward_loss(0.5, cache)
    assert loss.dtype == model.forward(IDS, MASK)[0].dtype == dtype
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(dtype)}


@pytest.mark.parametrize("model_class", HEADED)
def test_dropout_of_an_adapter_is_drawn_from_the_rng(model_class):
    model = tiny(model_class)
    apply_lora(model, LoRAConfig(rank=2, dropout=0.5), rng=rng(1))
    for name, p in model.named_parameters():
        if name.endswith(".B"):
            p.data[...] = 1.0
    batch, _ = BATCHES[model_class]
    plain, same, once, again = (loss_with_dropout(model, batch, r) for r in (None, None, rng(2), rng(2)))
    assert plain == same != once == again


# ---- what users get wrong

SHAPE = {"vocab_size": 13, "n_positions": 9, "n_layer": 2, "d_model": 12, "n_head": 3}
WRONG_SHAPES = [
    ({"vocab_size": 0}, "vocab_size was 0; it must be an integer of at least 1"),
    ({"n_layer": True}, "n_layer was True; it must be an integer of at least 1"),
    ({"d_mlp": 2.0}, "d_mlp was 2.0; it must be an integer of at least 1"),
    ({"pad_id": -1}, "pad_id was -1; it must be an integer of at least 0"),
    ({"pad_id": 13}, "pad_id was 13; it must be from 0 to vocab_size - 1 = 12"),
    ({"n_types": 0}, "n_types was 0; it must be an integer of at least 1"),
    ({"n_classes": None}, "n_classes was None; it must be an integer of at least 1"),
    ({"n_head": 5}, "n_head was 5; it must divide d_model = 12"),
    ({"layer_norm_eps": float("nan")}, "layer_norm_eps was nan; it must be a finite number of at least 0"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_SHAPES, ids=[str(wrong) for wrong, _ in WRONG_SHAPES])
def test_a_wrong_configuration_is_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        RobertaConfig(**SHAPE | wrong)


def test_the_mlp_is_four_times_as_wide_if_not_said():
    assert RobertaConfig(**SHAPE).d_mlp == 48


WRONG_INPUTS = {
    "an id too large": (np.array([[0, 13]]), None, "ids ran from 0 to 13; each must be from 0 to 12"),
    "float ids": (np.array([[0.0, 1.0]]), None, "ids had shape (1, 2) and dtype float64"),
    "one axis": (np.array([1, 2]), None, "ids had shape (2,) and dtype int64"),
    "too long": (np.zeros((1, 10), int), None, "ids made a sequence of 10 tokens; n_positions is 9"),
    "a mask of another shape": (
        IDS,
        MASK[:, :3],
        "padding_mask had shape (3, 3) and dtype bool; it must be booleans of ids'",
    ),
    "a mask of floats": (
        IDS,
        MASK * 1.0,
        "padding_mask had shape (3, 7) and dtype float64; it must be booleans of ids' shape",
    ),
}


@pytest.mark.parametrize(("ids", "mask", "message"), WRONG_INPUTS.values(), ids=WRONG_INPUTS.keys())
def test_wrong_inputs_are_refused(model, ids, mask, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        model.forward(ids, mask)


def test_inputs_in_lists_are_refused(model):
    with pytest.raises(TypeError, match="ids is a list; it must be a NumPy or CuPy array"):
        model.forward([[1, 2]])
    with pytest.raises(TypeError, match="padding_mask is a list; it must be a NumPy or CuPy array"):
        model.forward(IDS, MASK.tolist())


def test_wrong_labels_are_refused():
    model = tiny(RobertaForClassification)
    with pytest.raises(
        ValueError, match=re.escape("labels had shape (2,) and dtype int64; it must be integers of shape (3,)")
    ):
        model.loss(ClassificationBatch(IDS, MASK, LABELS[:2]))
    with pytest.raises(ValueError, match="targets ran from 0 to 9; each must be from 0 to 4"):
        model.loss(ClassificationBatch(IDS, MASK, np.where(LABELS == 4, 9, LABELS)))


def test_a_target_out_of_range_is_refused_even_where_it_does_not_count():
    with pytest.raises(ValueError, match="targets ran from .* to 99; each must be from 0 to 12"):
        tiny(RobertaForMaskedLM).loss(MaskedBatch(IDS, MASK, np.where(COUNTED, TARGETS, 99), COUNTED))
