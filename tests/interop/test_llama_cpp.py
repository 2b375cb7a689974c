"""Tiny models and adapters, written as GGUF, compute in llama.cpp what they compute here.

llama.cpp computes in float32, and rounds the exponentials of softmax and SiLU to float16: log-probabilities agree to
some 1e-3. A mistake (rows in another order, a frequency) moves them by 0.1 and more.
"""

from dataclasses import replace

import numpy as np
import pytest

from interop.gguf_models import CONFIGS, OPTIONS, adapted, config_of, quantised, tiny_llama
from interop.make_tiny_folders import make_llama
from llm import llama_cpp
from minilora.interop import load_tokenizer
from minilora.interop.gguf_adapter import save_gguf_adapter
from minilora.interop.gguf_load import load_gguf
from minilora.interop.gguf_save import save_gguf
from minilora.methods import set_adapter

pytestmark = pytest.mark.skipif(not llama_cpp.is_there(), reason=llama_cpp.REASON)

IDS = [1, 5, 2, 30, 7, 7, 9, 11, 39, 0, 3, 21]
TOLERANCE = 2e-3


def log_probabilities(model, ids):
    logits = model.forward(np.array([ids]))[0][0, -1].astype("float64")
    logits = logits - logits.max()
    return logits - np.log(np.exp(logits).sum())


def theirs(path, V, **more):
    return np.array(llama_cpp.ask(path, logprobs=[IDS], V=V, **more)["logprobs"][0])


@pytest.fixture
def folder(tmp_path):
    """A tokenizer, without which xllamacpp computes nothing."""
    return make_llama(tmp_path / "folder")


@pytest.mark.parametrize("config", CONFIGS)
def test_llama_cpp_computes_the_same(tmp_path, folder, config):
    model = tiny_llama(config_of(config, folder))
    save_gguf(model, tmp_path / "model.gguf", like=folder, dtype="f32")
    found = theirs(tmp_path / "model.gguf", model.config.vocab_size)
    assert np.abs(found - log_probabilities(model, IDS)).max() < TOLERANCE


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_llama_cpp_computes_the_same_with_an_adapter(tmp_path, folder, options):
    model = adapted(config_of("grouped", folder), **options)
    with_adapter = log_probabilities(model, IDS)
    save_gguf_adapter(model, tmp_path / "adapter.gguf")
    set_adapter(model, None)
    base = log_probabilities(model, IDS)
    save_gguf(model, tmp_path / "model.gguf", like=folder, dtype="f32")
    found = theirs(tmp_path / "model.gguf", model.config.vocab_size, adapter=tmp_path / "adapter.gguf")
    assert np.abs(found - with_adapter).max() < TOLERANCE < 0.05 < np.abs(found - base).max()


MIXTURES = {  # by the numbers of the types
    "Q4_K_M": (12, 14),
    "Q5_K_M": (13, 14),
    "Q2_K and Q3_K": (10, 11),
    "Q5_0 and Q5_1": (6, 7),
    "IQ4_NL and IQ4_XS": (20, 23),
}


@pytest.mark.parametrize("kinds", MIXTURES.values(), ids=MIXTURES)
def test_llama_cpp_computes_the_same_of_quantised_weights(tmp_path, folder, kinds):
    """But for the inputs of each product, which llama.cpp rounds to 8 bits."""
    config = replace(config_of("grouped", folder), d_model=256, d_mlp=512, head_size=64)
    save_gguf(tiny_llama(config), tmp_path / "plain.gguf", like=folder, dtype="f32")
    quantised(tmp_path / "plain.gguf", tmp_path / "model.gguf", kinds, np.random.default_rng(0))
    model = load_gguf(tmp_path / "model.gguf")
    expected = log_probabilities(model, IDS)
    found = theirs(tmp_path / "model.gguf", config.vocab_size)
    assert (found - expected).std() < 0.1 * expected.std()


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_llama_cpp_reads_a_text_as_the_same_ids(tmp_path, kind):
    folder = make_llama(tmp_path / "folder", kind=kind)
    save_gguf(tiny_llama(config_of("grouped", folder, 3)), tmp_path / "model.gguf", like=folder)
    texts = ["The river is long", "a 12 345\n\n  end", "<|im_end|> é 東京", "def add(first):\n\treturn"]
    asked = [{"text": text, "control": control} for text in texts for control in (True, False)]
    found = llama_cpp.ask(tmp_path / "model.gguf", texts=asked)["texts"]
    tokenizer = load_tokenizer(folder)
    assert found == [tokenizer.encode(a["text"], control=a["control"]).tolist() for a in asked]
