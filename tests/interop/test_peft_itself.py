"""peft loads what save_peft writes, and computes our logits. Runs where torch, transformers and peft are installed."""

import numpy as np
import pytest

from interop.peft_golden import GPT2, expected, gpt2, logits
from interop.saved_adapters import BESIDES, OURS, adapted, adapted_besides
from minilora.interop import load_peft, save_peft

peft = pytest.importorskip("peft")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def logits_of_peft(folder):
    base = transformers.GPT2LMHeadModel.from_pretrained(GPT2, dtype=torch.float64)
    model = peft.PeftModel.from_pretrained(base, folder, autocast_adapter_dtype=False).eval()
    with torch.no_grad():
        return model(torch.from_numpy(expected()["ids"])).logits.numpy()


def assert_peft_gives_our_logits(model, folder):
    save_peft(model, folder)
    ours = logits(model, expected()["ids"])
    np.testing.assert_allclose(logits_of_peft(folder), ours, rtol=0, atol=1e-10)
    assert np.abs(ours - expected()["base"]).max() > 0.1


@pytest.mark.parametrize("lora", OURS.values(), ids=OURS.keys())
def test_an_adapter_of_ours(lora, tmp_path):
    assert_peft_gives_our_logits(adapted(**lora), tmp_path)


@pytest.mark.parametrize("parts", [parts for parts, _, _ in BESIDES.values()], ids=BESIDES.keys())
def test_what_was_trained_besides(parts, tmp_path):
    assert_peft_gives_our_logits(adapted_besides(parts), tmp_path)


def test_an_adapter_of_peft_s_own(tmp_path):
    model = gpt2()
    load_peft(model, GPT2 / "patterns")
    assert_peft_gives_our_logits(model, tmp_path)
