"""The peer of tests/benchmarks/smollm2.py: the same Llama and LoRA in PyTorch eager, with transformers and PEFT.

It trains once and prints a JSON line; `smollm2.py` says how to get an environment for it.
"""

import json
import sys
import time
import warnings

import peft
import torch
import transformers
from smollm2_turn import most_held, reset_most_held

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()


def main():
    """Load, adapt, and time steps: forward, loss, backward, AdamW."""
    turn = json.loads(sys.argv[1])
    torch.set_num_threads(turn["threads"])
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(turn["folder"], dtype=torch.float32)
    model.config.use_cache = False
    lora = peft.LoraConfig(r=turn["rank"], lora_alpha=2 * turn["rank"], target_modules=turn["targets"])
    model = peft.get_peft_model(model, lora)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    ids = torch.randint(0, model.config.vocab_size, (turn["N"], turn["T"] + 1))

    def step():
        optimizer.zero_grad(set_to_none=True)
        logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    losses = [step()]
    reset_most_held()
    started = time.perf_counter()
    losses += [step() for _ in range(turn["steps"])]
    seconds = (time.perf_counter() - started) / turn["steps"]
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    trainable = sum(p.numel() for p in trained)
    print(json.dumps({"seconds": seconds, "bytes": most_held(), "trainable": trainable, "losses": losses, **versions}))


if __name__ == "__main__":
    main()
