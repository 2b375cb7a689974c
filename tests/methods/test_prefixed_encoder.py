"""Prefix tuning in an encoder: where the tokens are, what sees them, and where there is no room."""

import numpy as np
import pytest

from device_array import DeviceArray, count_synchronisations, to_fake_device, to_host
from methods.classifiers import MODELS
from methods.every import EVERY
from methods.prefix_mutants import MUTANTS
from methods.tiny import gradients_of, rng, same_bits, trainable_names
from minilora.gradcheck import GradientError, check_model
from minilora.methods import PrefixConfig, apply_method, apply_prefix, prefix_tokens, save_adapter, set_adapter
from minilora.methods.prefixed_encoder import PrefixedRoberta
from minilora.models import DebertaForClassification, Roberta, RobertaForClassification, RobertaForMaskedLM, save_model
from models.tiny_encoders import BATCHES, CONFIG, HEADED, IDS, MASK, PAD, tiny

KINDS = [EVERY[name] for name in ("prefix-embedding", "prefix-layer", "prefix-embedding, before")]
each_kind = pytest.mark.parametrize("config", KINDS, ids=str)
each_model = pytest.mark.parametrize("model_class", HEADED)
TEXTS = [row[seen][:6] for row, seen in zip(IDS, MASK, strict=True)]  # with a prefix of 3, the tiny model takes 6
T = max(map(len, TEXTS))


def rows_of(texts):
    """Texts as ids with padding behind them, and their mask."""
    longest = max(map(len, texts))
    ids = np.array([[*text, *[PAD] * (longest - len(text))] for text in texts])
    return ids, ids != PAD


def batch_of(model_class):
    """The tiny batch of a kind of model, without the last column."""
    batch, _ = BATCHES[model_class]
    return type(batch)(*(a if a.ndim == 1 else a[:, :T] for a in batch))


def adapted(model_class, config, learned=True):
    model = tiny(model_class)
    apply_method(model, config, rng=rng(1))
    if learned:
        for p in model.trainable_parameters():
            p.data += 0.4 * rng(len(p.name)).standard_normal(p.data.shape)
    return model


# ---- the mathematics


@pytest.mark.parametrize(("before", "after"), [(2, 1), (3, 0), (0, 2)])
def test_an_embedding_prefix_of_known_words_is_a_text_with_these_words(before, after):
    """After the first token and after the last; what each of the text's own tokens then says is the same."""
    words = [7, 3, 5][: before + after]
    model = tiny(Roberta)
    apply_prefix(model, PrefixConfig("embedding", before, after), rng=rng())
    model.prefix.tables[0].W.data[...] = model.wte.W.data[words]
    found, _ = model.forward(*rows_of(TEXTS))
    whole = [[text[0], *words[:before], *text[1:], *words[before:]] for text in TEXTS]
    expected, _ = tiny(Roberta).forward(*rows_of(whole))
    for row, text in enumerate(TEXTS):
        own = [0, *range(before + 1, before + len(text))]
        assert np.allclose(found[row, : len(text)], expected[row, own], rtol=0, atol=1e-12)


def test_a_layer_prefix_starts_with_what_random_words_have_there():
    model, n = tiny(Roberta), 3
    apply_prefix(model, PrefixConfig("layer", before=2, after=1), rng=rng(5))
    words = rng(5).integers(0, CONFIG.vocab_size - 1, n)
    words += words >= PAD
    alone = tiny(Roberta)
    alone.blocks = alone.blocks[:1]
    after_block_0, _ = alone.forward(words[None])
    first, second = (table.W.data for table in model.prefix.tables)
    assert same_bits(first, alone.wte.W.data[words])
    assert np.allclose(second, after_block_0[0], rtol=0, atol=1e-12)


def test_a_prefix_never_starts_as_padding():
    V = CONFIG.vocab_size
    model = tiny(Roberta, config=CONFIG.__class__(**{**vars(CONFIG), "n_positions": 10 * V}))
    apply_prefix(model, PrefixConfig("embedding", before=8 * V, after=0), rng=rng())
    rows = {row.tobytes() for row in model.prefix.tables[0].W.data}
    assert rows == {row.tobytes() for i, row in enumerate(model.wte.W.data) if i != PAD}


@each_kind
def test_what_pads_a_row_does_not_count(config):
    model = adapted(RobertaForClassification, config)
    ids, mask = rows_of(TEXTS)
    together, _ = model.forward(ids, mask)
    alone = np.concatenate([model.forward(np.array(text)[None])[0] for text in TEXTS])
    assert np.allclose(together, alone, rtol=0, atol=1e-12)


@each_model
@each_kind
def test_gradients_are_slopes(model_class, config):
    check_model(adapted(model_class, config), batch_of(model_class), rng=rng(4))


@pytest.mark.parametrize("train_prefix", [True, False])
def test_everything_below_and_beside_a_prefix_has_its_gradient_too(train_prefix):
    model = adapted(RobertaForClassification, EVERY["prefix-layer"])
    for name, p in model.named_parameters():
        p.trainable = train_prefix or not name.startswith("encoder.prefix")
    check_model(model, batch_of(RobertaForClassification), rng=rng(4))


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS.keys())
def test_a_wrong_backward_fails(monkeypatch, mutant):
    model = adapted(RobertaForClassification, EVERY["prefix-layer"])
    monkeypatch.setattr(prefix_tokens, "prefix_backward", mutant)
    with pytest.raises(GradientError, match="prefix.tables"):
        check_model(model, batch_of(RobertaForClassification), rng=rng(4))


def test_recomputed_the_gradients_are_the_same_to_the_bit():
    batch = batch_of(RobertaForClassification)
    kept, again = (adapted(RobertaForClassification, EVERY["lora+prefix-layer"]) for _ in range(2))
    again.recompute = True
    assert same_bits(gradients_of(kept, batch), gradients_of(again, batch))


@each_kind
def test_on_arrays_that_obey_cupy_s_rules_it_is_the_same_and_never_waits(config):
    model, batch = adapted(RobertaForClassification, config), batch_of(RobertaForClassification)
    host = {"loss": model.loss(batch)[0], **gradients_of(model, batch)}
    for p in model.parameters():
        p.data = to_fake_device(p.data)
    model.zero_grad()
    with count_synchronisations() as count:
        loss, cache = model.loss(batch)
        model.backward_loss(1.0, cache)
    device = {"loss": loss} | {p.name: p.grad for p in model.trainable_parameters()}
    assert count.n == 0 and host.keys() == device.keys()
    for name, array in device.items():
        assert isinstance(array, DeviceArray) and np.allclose(to_host(array), host[name], rtol=1e-9, atol=1e-12), name


# ---- coming, going, and what is refused


def test_switched_off_the_encoder_is_a_plain_one_and_nothing_of_the_prefix_is_left():
    model, plain = adapted(RobertaForClassification, EVERY["prefix-layer"]), tiny(RobertaForClassification)
    ids, mask = rows_of(TEXTS)
    with_it, _ = model.forward(ids, mask)
    assert type(model.encoder) is PrefixedRoberta and model.longest_input == CONFIG.n_positions - 3
    set_adapter(model, None)
    assert type(model.encoder) is Roberta and "prefix" not in vars(model.encoder)
    assert model.longest_input == CONFIG.n_positions and same_bits(
        model.forward(IDS, MASK)[0], plain.forward(IDS, MASK)[0]
    )
    set_adapter(model, "prefix")
    assert same_bits(model.forward(ids, mask)[0], with_it) and type(model.replica().encoder) is PrefixedRoberta


def test_it_trains_its_tables_and_a_classifier_s_head():
    layer = ["prefix.tables.0.W", "prefix.tables.1.W"]
    assert trainable_names(adapted(RobertaForMaskedLM, EVERY["prefix-layer"])) == [f"encoder.{name}" for name in layer]
    head = ["head.dense.W", "head.dense.bias", "head.out_proj.W", "head.out_proj.bias"]
    of_classifier = trainable_names(adapted(RobertaForClassification, EVERY["prefix-embedding"]))
    assert of_classifier == ["encoder.prefix.tables.0.W", *head]
    assert trainable_names(adapted(Roberta, EVERY["prefix-layer"])) == layer


@each_kind
def test_a_text_without_room_for_the_prefix_is_refused(config):
    model = adapted(RobertaForClassification, config)
    n = config.before + config.after
    message = rf"ids made a sequence of {7 + n} tokens, {n} of them the prefix's; n_positions is 9"
    with pytest.raises(ValueError, match=message):
        model.loss(BATCHES[RobertaForClassification][0])
    with pytest.raises(ValueError, match=r"before \+ after was 9; it must be from 1 to 8, because n_positions is 9"):
        apply_prefix(tiny(RobertaForClassification), PrefixConfig(before=9, after=0), rng=rng())


def test_a_deberta_is_refused_and_stays_as_it_was():
    model = tiny(DebertaForClassification, config=MODELS["deberta"][1])
    before = trainable_names(model)
    for config in (PrefixConfig(before=1, after=0), EVERY["lora+prefix-layer"]):
        with pytest.raises(ValueError, match="model was a DebertaForClassification; prefix tuning needs a GPT"):
            apply_method(model, config)
    assert trainable_names(model) == before and not vars(model.encoder).get("prefix")


def test_an_encoder_with_a_prefix_is_not_saved_as_a_plain_one(tmp_path):
    model = adapted(RobertaForClassification, EVERY["prefix-layer"])
    with pytest.raises(ValueError, match="holds encoder.prefix.tables.0.W, which a plain .* by save_adapter"):
        save_model(model, tmp_path / "model")
    save_adapter(model, tmp_path / "adapter")
    assert len(list(tmp_path.iterdir())) == 1
