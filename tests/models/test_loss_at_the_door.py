"""What is wrong with a batch is said in one line, by the name of the field, before anything is computed."""

import numpy as np
import pytest

from methods.tiny import some_batch, tiny_gpt
from minilora.data.batches import LMBatch
from minilora.models import RobertaForClassification, RobertaForMaskedLM
from models.tiny_encoders import BATCHES, tiny

MODELS = {
    "gpt": (tiny_gpt, some_batch()),
    "classifier": (lambda: tiny(RobertaForClassification), BATCHES[RobertaForClassification][0]),
    "masked": (lambda: tiny(RobertaForMaskedLM), BATCHES[RobertaForMaskedLM][0]),
}
FIELDS = [(kind, field) for kind, (_, batch) in MODELS.items() for field in batch._fields if field != "text_lengths"]
WRONG = {
    "None": lambda array: None,
    "a list": lambda array: array.tolist(),
    "floats": lambda array: array.astype(float),
    "another shape": lambda array: array[..., :1] if array.ndim > 1 else array[:1],
    "one axis too many": lambda array: array[..., None],
    "text": lambda array: "text",
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_a_wrong_field_is_named(kind, field, wrong):
    make, batch = MODELS[kind]
    if (field, wrong) == ("padding_mask", "None"):
        pytest.skip("no padding_mask hides nothing")
    batch = batch._replace(**{field: WRONG[wrong](getattr(batch, field))})
    with pytest.raises((TypeError, ValueError)) as error:
        make().loss(batch)
    message = str(error.value)
    others = {"ids": ("targets", "labels", "padding_mask")}.get(field, ()) if wrong == "another shape" else ()
    assert message.startswith((field, *others)) and "must be" in message and "\n" not in message


@pytest.mark.parametrize("field", ["targets", "labels"])
def test_a_boolean_is_no_class(field):
    for make, batch in MODELS.values():
        if field in batch._fields:
            with pytest.raises(ValueError, match=f"{field} had .* dtype bool; it must be integers"):
                make().loss(batch._replace(**{field: getattr(batch, field) > 3}))


@pytest.mark.parametrize("kind", ["gpt", "masked"])
def test_a_loss_mask_of_zeros_and_ones_is_no_mask(kind):
    """As an index, 0 and 1 would choose the first two rows, again and again."""
    make, batch = MODELS[kind]
    with pytest.raises(ValueError, match="loss_mask had .* dtype int64; it must be booleans"):
        make().loss(batch._replace(loss_mask=batch.loss_mask.astype(np.int64)))


@pytest.mark.parametrize("kind", ["classifier", "masked"])
def test_another_models_batch_is_refused(kind):
    make, batch = MODELS[kind]
    with pytest.raises(TypeError, match=f"batch was a LMBatch, .* fields {', '.join(batch._fields)}"):
        make().loss(some_batch())
    with pytest.raises(TypeError, match="which has no targets|which has no loss_mask"):
        tiny_gpt().loss(MODELS["classifier"][1])


def test_ids_alone_are_no_batch():
    with pytest.raises(TypeError, match="batch was a ndarray, which has no ids; it must have the fields ids, targets"):
        tiny_gpt().loss(some_batch().ids)


def test_a_masked_batch_has_all_that_a_decoder_reads():
    """Only the fields count: a decoder takes any batch that has its own."""
    batch = MODELS["masked"][1]
    ids, targets = batch.ids % 11, batch.targets % 11
    loss = tiny_gpt().loss(batch._replace(ids=ids, targets=targets))[0]
    assert loss == tiny_gpt().loss(LMBatch(ids, targets, batch.loss_mask))[0]
