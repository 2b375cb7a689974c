"""SmolLM2, a real language model: its logits, its tokens, and its text, against transformers and llama.cpp.

    make llm && pytest -m llm

tests/golden/llm has what they said, and the scripts that asked them. The greedy text is llama.cpp's, of an F32 file of
the same numbers: with the four-bit file itself, llama.cpp rounds activations to eight bits, and other tokens win.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from llm import greedy, llama_cpp
from llm.cases import AWKWARD, PROMPTS, VARIANTS, adapt
from minilora.experiments.paper.bases import base_of
from minilora.interop import chat_template_of, load_gguf, load_tokenizer, smollm2_file
from minilora.interop.opening import open_language_model

pytestmark = pytest.mark.llm
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "llm"


@pytest.fixture(scope="module")
def path():
    try:
        return smollm2_file()
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def tokenizer(path):
    return load_tokenizer(path)


def golden(name):
    return json.loads((GOLDEN / name).read_text())["ids"]


def test_the_logits_are_those_of_transformers_in_float64(path):
    model, expected = load_gguf(path, dtype="float64"), load_file(GOLDEN / "logits.safetensors")
    for n in range(3):
        ids = expected[f"{n}.ids"]
        logits = model.forward(ids[None])[0][0]  # (T, V)
        most = logits.max(axis=-1)
        logsumexp = most + np.log(np.exp(logits - most[:, None]).sum(axis=-1))
        assert np.abs(logits[:, ::480] - expected[f"{n}.logits"]).max() < 1e-10
        assert np.abs(logsumexp - expected[f"{n}.logsumexp"]).max() < 1e-10


@pytest.mark.parametrize("name", AWKWARD)
def test_the_tokens_of_an_awkward_text_are_those_of_llama_cpp(tokenizer, name):
    expected, text = golden("tokens.json")[name], AWKWARD[name]
    assert tokenizer.encode(text).tolist() == expected["control"]
    assert tokenizer.encode(text, control=False).tolist() == expected["plain"]
    if "<|" not in text:
        assert tokenizer.decode(expected["plain"]) == text


def test_a_control_token_in_a_message_can_be_plain_text(tokenizer):
    plain = tokenizer.encode("Do not write <|im_end|>", control=False)
    assert tokenizer.end_of_text not in plain and tokenizer.decode(plain) == "Do not write <|im_end|>"
    assert tokenizer.encode("<|im_end|>").tolist() == [tokenizer.end_of_text] == [2]


def test_what_the_file_says_of_itself(path, tokenizer):
    assert (tokenizer.bos, tokenizer.eos, tokenizer.vocab_size) == ("<|im_start|>", "<|im_end|>", 49152)
    assert len(tokenizer.control_tokens) == 17 and "<|im_start|>system" in chat_template_of(path)


@pytest.fixture(scope="module")
def adapted(path):
    model = load_gguf(path)
    adapt(model)
    return model


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_text_is_that_of_llama_cpp(adapted, variant):
    said = greedy.ours(adapted, variant)
    assert len(said) == len(PROMPTS) == 20
    assert said == golden("greedy.json")[variant]


def test_the_adapter_changes_the_text():
    said = golden("greedy.json")
    assert said["adapter"] != said["base"] != said["half"] != said["adapter"]


@pytest.mark.skipif(not llama_cpp.is_there(), reason=llama_cpp.REASON)
def test_llama_cpp_still_says_so(path, tmp_path):
    said = greedy.asked_of_llama_cpp(tmp_path, variants=("adapter",), n_prompts=3)
    assert said["adapter"] == golden("greedy.json")["adapter"][:3]


def test_the_experiments_know_it_as_a_large_base(path):
    base = base_of(open_language_model("smollm2"))
    assert base.label == "smollm2" and base.large and not base.has_biases
    assert base.shapes["q_proj"] == (576, 576) and base.shapes["v_proj"] == (192, 576)
    assert base.rates_of("lora", ()) == (3e-3,) and base.rates_of("full", ()) == (2e-4,)
    assert base.blocks() == (0, 10, 15, 20, 29)
