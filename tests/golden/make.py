"""Make the golden files: what transformers and peft say, for minilora to be compared with. `make test` only reads them.

    python tests/golden/make.py                 # all of them
    python tests/golden/make.py gpt2            # one

It needs torch, transformers and peft; versions.json, beside it, says with which the files were made. Each is a Hugging
Face folder, float64, so small that no dimension comes twice, at a generic point (no gain is 1, no bias 0):

    config.json, model.safetensors       as `save_pretrained` writes them
    expected.safetensors                 ids, mask, targets, and what came out: logits, loss
    gradients/                           the same folder again, with the gradient of the loss in each weight's place
    lora.safetensors                     (RoBERTa's classifier) A and B of peft's adapter, their gradients, and logits
"""

import json
import shutil
import sys
from pathlib import Path

import peft
import torch
import transformers
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
SEED = 0


def make_gpt2(folder):
    config = transformers.GPT2Config(
        vocab_size=29,
        n_positions=11,
        n_embd=12,
        n_layer=2,
        n_head=4,
        n_inner=20,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        layer_norm_epsilon=1e-4,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = at_a_generic_point(transformers.GPT2LMHeadModel, config)
    ids = torch.randint(0, 29, (5, 7))
    targets = torch.randint(0, 29, (5, 7))
    logits = model(ids).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    save(folder, model, loss, ids=ids, targets=targets, logits=logits)


def make_roberta_classification(folder):
    model = at_a_generic_point(transformers.RobertaForSequenceClassification, roberta_config(num_labels=6))
    ids, mask = padded_ids()
    targets = torch.tensor([2, 0, 5, 3, 2])
    logits = model(ids, mask).logits
    loss = torch.nn.functional.cross_entropy(logits, targets)
    save(folder, model, loss, ids=ids, mask=mask, targets=targets, logits=logits)
    save_lora(folder, model, ids, mask, targets)


def make_roberta_masked_lm(folder):
    model = at_a_generic_point(transformers.RobertaForMaskedLM, roberta_config())
    ids, mask = padded_ids()
    targets = torch.randint(2, 23, ids.shape)
    counted = (torch.rand(ids.shape) < 0.4) & (mask == 1)
    logits = model(ids, mask).logits
    loss = torch.nn.functional.cross_entropy(logits[counted], targets[counted])
    save(folder, model, loss, ids=ids, mask=mask, targets=targets, counted=counted, logits=logits)


MAKERS = {
    "gpt2": make_gpt2,
    "roberta_classification": make_roberta_classification,
    "roberta_masked_lm": make_roberta_masked_lm,
}


def roberta_config(**others):
    return transformers.RobertaConfig(
        vocab_size=23,
        max_position_embeddings=11,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=20,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        **others,
    )


def padded_ids():
    """Ids, (N, T) = (5, 7), and their mask: the rows have 7, 5, 2, 6 and 1 tokens."""
    ids = torch.randint(2, 23, (5, 7))
    mask = (torch.arange(7) < torch.tensor([[7], [5], [2], [6], [1]])).long()
    return torch.where(mask == 1, ids, 1), mask


def at_a_generic_point(model_class, config):
    torch.manual_seed(SEED)
    model = model_class(config).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn_like(p)
    return model


def save(folder, model, loss, **arrays):
    model.save_pretrained(folder)
    loss.backward()
    with torch.no_grad():
        weights = [p.clone() for p in model.parameters()]
        for p in model.parameters():
            p.copy_(p.grad)
        model.save_pretrained(folder / "gradients")
        for p, weight in zip(model.parameters(), weights, strict=True):
            p.copy_(weight)
    arrays = {name: array.detach().contiguous() for name, array in (arrays | {"loss": loss}).items()}
    save_file(arrays, folder / "expected.safetensors")


def save_lora(folder, model, ids, mask, targets):
    """The same model with an adapter on query and value whose B is not zero."""
    model.zero_grad()
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, lora_alpha=3, target_modules=["query", "value"]))
    factors = {name: p for name, p in adapted.named_parameters() if "lora_" in name}
    with torch.no_grad():
        for p in factors.values():
            p.copy_(0.3 * torch.randn_like(p))
    logits = adapted(ids, mask).logits
    torch.nn.functional.cross_entropy(logits, targets).backward()
    arrays = {"logits": logits.detach()}
    for name, p in factors.items():
        # base_model.model.roberta.encoder.layer.0.attention.self.query.lora_A.default.weight -> 0.query.A
        *_, layer, _, _, projection, letter, _, _ = name.split(".")
        arrays |= {f"{layer}.{projection}.{letter[-1]}": p.detach(), f"{layer}.{projection}.d{letter[-1]}": p.grad}
    save_file({name: array.contiguous() for name, array in arrays.items()}, folder / "lora.safetensors")


def main(names):
    for name in names or MAKERS:
        shutil.rmtree(HERE / name, ignore_errors=True)
        MAKERS[name](HERE / name)
        for file in (HERE / name).rglob("generation_config.json"):
            file.unlink()
        print(f"{name}: {sum(file.stat().st_size for file in (HERE / name).rglob('*.*')):,} bytes")
    versions = {module.__name__: module.__version__ for module in (torch, transformers, peft)}
    (HERE / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
