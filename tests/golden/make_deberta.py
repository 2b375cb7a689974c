"""Make DeBERTa's golden folder, in the form that make.py describes, lora.safetensors included.

    python tests/golden/make_deberta.py

It needs torch, transformers and peft. The sequences are longer than the buckets are many, so that distances fall into
logarithmic buckets, and the farthest of them beyond the table. Padding lies behind the tokens and among them. A head
has K = 3 channels, so that sqrt(3 K) is exact: transformers takes this root in float32, whatever the model's dtype.
"""

import shutil

import peft
import torch
import transformers
from make import HERE, at_a_generic_point, save
from safetensors.torch import save_file

NAME = "deberta_classification"


def main():
    config = transformers.DebertaV2Config(
        vocab_size=23,
        hidden_size=12,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=20,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=8,
        layer_norm_eps=1e-7,
        relative_attention=True,
        position_buckets=7,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        type_vocab_size=0,
        conv_kernel_size=3,
        conv_act="gelu",
        pooler_hidden_size=12,
        num_labels=5,
        pad_token_id=0,
    )
    model = at_a_generic_point(transformers.DebertaV2ForSequenceClassification, config)
    ids = torch.randint(1, 23, (2, 13))
    mask = (torch.arange(13) < torch.tensor([[13], [9]])).long()
    mask[1, 4:6] = 0
    ids = torch.where(mask == 1, ids, 0)
    targets = torch.tensor([2, 4])
    logits = model(ids, mask).logits
    loss = torch.nn.functional.cross_entropy(logits, targets)
    shutil.rmtree(HERE / NAME, ignore_errors=True)
    save(HERE / NAME, model, loss, ids=ids, mask=mask, targets=targets, logits=logits)
    save_lora(HERE / NAME, model, ids, mask, targets)
    print(f"{NAME}: {sum(file.stat().st_size for file in (HERE / NAME).rglob('*.*')):,} bytes")


def save_lora(folder, model, ids, mask, targets):
    """The same model with an adapter on query, key and value whose B is not zero."""
    model.zero_grad()
    modules = ["query_proj", "key_proj", "value_proj"]
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, lora_alpha=3, target_modules=modules))
    factors = {name: p for name, p in adapted.named_parameters() if "lora_" in name}
    with torch.no_grad():
        for p in factors.values():
            p.copy_(0.3 * torch.randn_like(p))
    logits = adapted(ids, mask).logits
    torch.nn.functional.cross_entropy(logits, targets).backward()
    arrays = {"logits": logits.detach()}
    for name, p in factors.items():
        # base_model.model.deberta.encoder.layer.0.attention.self.query_proj.lora_A.default.weight -> 0.query_proj.A
        *_, layer, _, _, projection, letter, _, _ = name.split(".")
        arrays |= {f"{layer}.{projection}.{letter[-1]}": p.detach(), f"{layer}.{projection}.d{letter[-1]}": p.grad}
    save_file({name: array.contiguous() for name, array in arrays.items()}, folder / "lora.safetensors")


if __name__ == "__main__":
    main()
