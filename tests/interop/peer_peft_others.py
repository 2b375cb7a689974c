"""Adapters that peft makes by other methods than LoRA, and the logits that it then computes; see peer_peft.py.

PYTHON peer_peft_others.py make FOLDER     the models, their adapters, and what each says
PYTHON peer_peft_others.py read FOLDER     what peft computes with adapters that somebody else wrote there
"""

import json
import sys
from pathlib import Path

import numpy as np
import peft
import torch
from peer_peft import EMBEDDING, MODELS, inputs, load, new_model, outputs, precision, randomised
from safetensors.numpy import save_file

KINDS = ("gpt2", "llama", "qwen2", "roberta")
DECODERS = ("gpt2", "llama", "qwen2")
LAST = {"gpt2": "mlp.c_proj", "llama": "down_proj", "qwen2": "down_proj", "roberta": "output.dense"}


def configurations(kind):
    """What is asked of peft, by name: a class of configuration, and its settings."""
    *_, task, attention, mlp, _, _ = MODELS[kind]
    last, both = LAST[kind], [*attention, *mlp]
    ia3 = {"target_modules": [*attention, last], "feedforward_modules": [last], "task_type": task}
    word = EMBEDDING.get(kind, "word_embeddings")
    lora = {"r": 3, "lora_alpha": 5, "task_type": task}
    cases = {
        "lora, embedding": (peft.LoraConfig, lora | {"target_modules": [*attention, word]}),
        "lora, embedding alone": (peft.LoraConfig, lora | {"target_modules": [word], "use_rslora": True}),
        "lora, patterns": (
            peft.LoraConfig,
            lora | {"target_modules": [*both, word], "rank_pattern": {word: 2}, "alpha_pattern": {word: 7}},
        ),
    }
    if kind == "llama":
        cases["lora, head"] = (peft.LoraConfig, lora | {"target_modules": [*attention, word, "lm_head"]})
    if kind in DECODERS:
        tokens = {"token_indices": [9, 4, 17], "task_type": task}
        cases["tokens"] = (peft.TrainableTokensConfig, tokens)
        cases["tokens, named"] = (peft.TrainableTokensConfig, tokens | {"target_modules": [word]})
        cases["prompt"] = (peft.PromptTuningConfig, {"num_virtual_tokens": 3, "task_type": task})
    wide = mlp if kind == "gpt2" else both  # c_attn is three layers here, which VeRA's B does not take
    adalora = {"init_r": 4, "target_r": 2, "lora_alpha": 6, "total_step": 10, "target_modules": both, "task_type": task}
    cases |= {
        "vera": (peft.VeraConfig, {"r": 5, "target_modules": wide, "task_type": task}),
        "vera, a high rank": (peft.VeraConfig, {"r": 40, "target_modules": mlp[:1], "task_type": task}),
        "adalora": (peft.AdaLoraConfig, adalora),
        "adalora, pruned": (peft.AdaLoraConfig, adalora),
    }
    return cases | {
        "ia3": (peft.IA3Config, ia3),
        "ia3, outputs": (peft.IA3Config, ia3 | {"target_modules": attention, "feedforward_modules": []}),
        "ia3, inputs": (peft.IA3Config, ia3 | {"target_modules": both, "feedforward_modules": both}),
        "ia3, all-linear": (
            peft.IA3Config,
            ia3 | {"target_modules": "all-linear", "feedforward_modules": rf".*\.1\..*{attention[0]}"},
        ),
        "ia3, excluded": (peft.IA3Config, ia3 | {"exclude_modules": r".*\.0\..*"}),
    }


def logits(kind, model):
    """Those of the text: a prompt's own come before them."""
    ids, mask = inputs(kind)
    if getattr(model, "_is_prompt_learning", False) or getattr(model.active_peft_config, "is_prompt_learning", False):
        with torch.no_grad():
            result = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask).long())
        return np.ascontiguousarray(result[0].numpy()[:, -ids.shape[1] :])  # save_file writes memory as it lies
    return outputs(kind, model)


def prune(model):
    """Switch triplets of AdaLoRA's off as training does, in some layers all of them."""
    draw, adapted = np.random.default_rng(5), model.base_model.model
    pattern = {name: (draw.random(4) < 0.5).tolist() for name, _ in adapted.named_parameters() if "lora_E" in name}
    pattern[next(iter(pattern))] = [False] * 4
    for name, p in adapted.named_parameters():
        if name in pattern:
            p.data *= torch.tensor(pattern[name])[:, None]
    model.peft_config["default"].rank_pattern = pattern


def make(root):
    for kind in KINDS:
        with precision(kind):
            folder = root / kind
            new_model(kind).save_pretrained(folder)
            ids, mask = inputs(kind)
            found = {"ids": ids, "mask": mask, "base": outputs(kind, new_model(kind))}
            for name, (config, settings) in configurations(kind).items():
                model = peft.get_peft_model(new_model(kind), config(**settings), autocast_adapter_dtype=False).eval()
                model.double()
                randomised(model, 3, 0.4, only_trainable=True)
                for part, p in model.named_parameters():
                    if "ranknum" in part:  # AdaLoRA's init_r, which peft does not save
                        p.data.fill_(4.0)
                for p in model.parameters():
                    p.data = p.data.float().double() if p.requires_grad else p.data  # peft reads a prompt in float32
                if "pruned" in name:
                    prune(model)
                expected = logits(kind, model)  # saving cuts what was pruned
                model.save_pretrained(folder / name)
                found[f"out.{name}"] = logits(kind, load(kind, folder, name).double())
                assert np.abs(found[f"out.{name}"] - expected).max() < 1e-12, (kind, name)
            save_file(found, root / f"{kind}.safetensors")


def read(root):
    for kind in KINDS:
        with precision(kind):
            names = sorted(path.name for path in (root / kind).glob("ours *"))
            save_file(
                {n: logits(kind, load(kind, root / kind, n).double()) for n in names}, root / f"{kind}.read.safetensors"
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    action, root = sys.argv[1], Path(sys.argv[2])
    root.mkdir(exist_ok=True)
    print(json.dumps({action: {"make": make, "read": read}[action](root)}))
