"""Make DeBERTa's golden folder, in the form that make.py describes.

    python tests/golden/make_deberta.py

It needs torch and transformers. The sequences are longer than the buckets are many, so that distances fall into
logarithmic buckets, and the farthest of them beyond the table. Padding lies behind the tokens and among them. A head
has K = 3 channels, so that sqrt(3 K) is exact: transformers takes this root in float32, whatever the model's dtype.
"""

import shutil

import torch
import transformers
from make import HERE, at_a_generic_point, save

NAME = "deberta_classification"


def main():
    config = transformers.DebertaV2Config(
        vocab_size=23, hidden_size=12, num_hidden_layers=3, num_attention_heads=4, intermediate_size=20,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, max_position_embeddings=8, layer_norm_eps=1e-7,
        relative_attention=True, position_buckets=7, pos_att_type=["p2c", "c2p"], share_att_key=True,
        norm_rel_ebd="layer_norm", position_biased_input=False, type_vocab_size=0, conv_kernel_size=3, conv_act="gelu",
        pooler_hidden_size=12, num_labels=5, pad_token_id=0,
    )  # fmt: skip
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
    print(f"{NAME}: {sum(file.stat().st_size for file in (HERE / NAME).rglob('*.*')):,} bytes")


if __name__ == "__main__":
    main()
