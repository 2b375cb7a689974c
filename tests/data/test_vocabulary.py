"""A model and a tokenizer that do not belong together are refused; the end of a text is the tokenizer's own."""

import numpy as np
import pytest

from experiments.tiny import sum_task
from minilora import GPT, GPTConfig, LoRAConfig, RobertaConfig, RobertaForClassification
from minilora.data import (
    ByteTokenizer,
    EncoderTokenizer,
    Example,
    PairTask,
    TextTask,
    check_vocabulary,
    encode_documents,
    load_classification_task,
    load_task,
    pair_batch,
    windows,
)
from minilora.experiments import finetune, pretrain
from minilora.experiments.finetune import FinetuneConfig
from minilora.experiments.measure import measure
from minilora.experiments.pretrain_decoder import DECODER
from minilora.experiments.pretrain_encoder import ENCODER
from minilora.models import RobertaForMaskedLM
from minilora.training import TrainConfig

WRONG = (255, 257, 600, 50257)


def gpt(V):
    config = GPTConfig(vocab_size=V, n_positions=64, n_layer=1, d_model=8, n_head=2)
    return GPT(config, np.random.default_rng(0))


def roberta(V, model_class=RobertaForClassification):
    config = RobertaConfig(vocab_size=V, n_positions=64, n_layer=1, d_model=8, n_head=2, n_classes=7)
    return model_class(config, np.random.default_rng(0))


class Words:
    """A tokenizer of words, as different from bytes as one can be: ids from 0, and an end of text that is not 0."""

    unused_rows = 1024
    end_of_text = 96

    def __init__(self):
        self.words = []
        self.vocab_size = 97

    def encode(self, text):
        words = text.split()
        self.words += [word for word in dict.fromkeys(words) if word not in self.words]
        return np.array([self.words.index(word) for word in words], np.int64)

    def decode(self, ids):
        return " ".join([*self.words, *["?"] * 97][i] for i in ids)


# ---- who belongs together


@pytest.mark.parametrize("V", WRONG)
def test_bytes_go_with_a_model_of_bytes_alone(V):
    message = (
        f"the model has a vocabulary of {V:,} ids, and the tokenizer .ByteTokenizer. one of 256; the model's must be "
    )
    with pytest.raises(ValueError, match=message) as error:
        check_vocabulary(gpt(V), ByteTokenizer())
    assert "\n" not in str(error.value) and "take the model's own tokenizer" in str(error.value)
    check_vocabulary(gpt(256), ByteTokenizer())


@pytest.mark.parametrize("model_class", [RobertaForClassification, RobertaForMaskedLM])
def test_bytes_of_an_encoder_go_with_an_encoder_of_bytes_alone(model_class):
    check_vocabulary(roberta(260, model_class), EncoderTokenizer())
    for V in (259, 261, 256, 50265):
        with pytest.raises(
            ValueError, match=f"vocabulary of {V:,} ids, and the tokenizer .EncoderTokenizer. one of 260"
        ):
            check_vocabulary(roberta(V, model_class), EncoderTokenizer())


@pytest.mark.parametrize(
    ("V", "allowed"), [(96, False), (97, True), (128, True), (97 + 1024, True), (97 + 1025, False)]
)
def test_an_embedding_may_be_padded_where_a_tokenizer_says_so(V, allowed):
    if allowed:
        check_vocabulary(gpt(V), Words())
    else:
        with pytest.raises(
            ValueError, match=f"vocabulary of {V:,} ids, and the tokenizer .Words. one of 97; .* 97 to 1,121"
        ):
            check_vocabulary(gpt(V), Words())


# ---- everything that puts tokens into a model


def text():
    return TextTask("text", {split: ["Some words of a text."] * 2 for split in ("train", "valid", "test")}, 16)


@pytest.mark.parametrize("V", WRONG)
@pytest.mark.parametrize("task", [sum_task, text])
def test_nothing_is_trained_or_measured_with_a_decoder_of_another_vocabulary(tmp_path, V, task):
    config = FinetuneConfig("sums", "lora", LoRAConfig(rank=2), TrainConfig(steps=1, batch_size=2))
    for use in (
        lambda m: finetune.run(m, task(), config, tmp_path / "run", progress=False),
        lambda m: measure(m, task()),
    ):
        with pytest.raises(ValueError, match=f"the model has a vocabulary of {V:,} ids, and the tokenizer"):
            use(gpt(V))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("V", [256, 261, 50265])
def test_nothing_is_trained_or_measured_with_a_classifier_of_another_vocabulary(tmp_path, V):
    task = load_classification_task("unicode-names", length=128)
    config = FinetuneConfig("unicode-names", "lora", LoRAConfig(rank=2), TrainConfig(steps=1, batch_size=2))
    for use in (lambda m: finetune.run(m, task, config, tmp_path / "run", progress=False), lambda m: measure(m, task)):
        with pytest.raises(ValueError, match=f"the model has a vocabulary of {V:,} ids, and the tokenizer"):
            use(roberta(V))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", [DECODER, ENCODER])
def test_nothing_is_pretrained_with_another_vocabulary(tmp_path, kind):
    shape = {"vocab_size": 600, "n_positions": 16, "n_layer": 1, "d_model": 8, "n_head": 2}
    config = (GPTConfig if kind is DECODER else RobertaConfig)(**shape)
    with pytest.raises(ValueError, match="the model has a vocabulary of 600 ids, and the tokenizer"):
        pretrain.run(kind, pretrain.PretrainConfig(config, TrainConfig(steps=1)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---- the end of a text


def test_a_text_ends_as_its_tokenizer_says():
    words = Words()
    assert encode_documents(["a b", "c"], words).tolist() == [0, 1, 96, 2, 96]
    batch = pair_batch([Example("a b", "c", "k"), Example("a", "b", "k")], words, max_length=9)
    assert batch.targets.tolist() == [[1, 2, 96], [1, 96, 96]]
    assert batch.ids.tolist() == [[0, 1, 2], [0, 1, 96]]
    assert batch.loss_mask.tolist() == [[False, True, True], [True, True, False]]
    (window,) = windows(np.array([5, 6, 7]), length=2, batch_size=2, end_of_text=96)
    assert window.ids.tolist() == [[96, 5], [6, 96]] and window.targets.tolist() == [[5, 6], [7, 96]]


def test_a_task_reads_with_the_tokenizer_that_it_is_given(tmp_path):
    rows = "".join(f"sum of {i} and {j},it is {i + j}\n" for i in range(9) for j in range(9))
    (tmp_path / "sums.csv").write_text("source,target\n" + rows)
    task = load_task(tmp_path / "sums.csv", length=32, tokenizer=Words())
    assert isinstance(task, PairTask) and task.sample_batch(np.random.default_rng(0), 4).targets.max() == 96
    measured = measure(gpt(97), task, n_prompts=2, max_tokens=4)
    targets = [e.target for e in task.splits["test"]]
    per_token = sum(len(target) + 1 for target in targets) / (4 * len(targets))  # three words and the end of text
    assert measured["bits_per_byte"] == pytest.approx(measured["loss"] / np.log(2) / per_token)


def test_of_bytes_each_token_is_a_byte():
    assert {task.bytes_per_token(split) for task in (sum_task(), text()) for split in ("train", "valid")} == {1.0}
