"""The peer of `minilora bench`: the same GPT-2 or Llama and LoRA in PyTorch, with transformers and PEFT.

It is eager, or with --compile what torch.compile makes of it, which needs a C++ compiler on a CPU.

It reads a JSON command a line and answers with a JSON line, as minilora/experiments/bench/worker.py does, and runs in
an environment of its own:

    python3 -m venv .venv-torch
    .venv-torch/bin/pip install torch==2.13.0 transformers==5.23.0 peft==0.21.2
    minilora bench --against torch
"""

import json
import resource
import sys
import time
import warnings

import peft
import torch
import transformers

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()


class Peer:
    """A model with its optimizer and a batch, and what can be timed with them."""

    def __init__(self, compiled=False):
        self.compiled = compiled

    def make(self, shape, method, threads, rank=8, device="cpu", seed=0):
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        self.device = "cuda" if device == "gpu" else "cpu"
        torch.backends.cuda.matmul.allow_tf32 = True
        is_llama = shape.get("G") is not None
        self.model = llama(shape) if is_llama else gpt2(shape)
        if method == "lora":
            # GPT-2 has q, k and v in one c_attn, and PEFT cannot adapt a part of it; this is its default for GPT-2
            targets = ["q_proj", "v_proj"] if is_llama else ["c_attn"]
            lora = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=targets, fan_in_fan_out=not is_llama)
            self.model = peft.get_peft_model(self.model, lora)
        self.model.to(self.device)
        self.trained = torch.compile(self.model) if self.compiled else self.model
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trainable, lr=1e-4) if method != "base" else None
        self.ids = torch.randint(0, shape["V"], (shape["N"], shape["T"]), device=self.device)

    def train(self, n):
        """n steps: forward, loss, backward, AdamW."""
        self.model.train()
        for _ in range(n):
            self.optimizer.zero_grad(set_to_none=True)
            self.trained(input_ids=self.ids, labels=self.ids).loss.backward()
            self.optimizer.step()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def generate(self, n):
        """n tokens after a prompt of 16, greedily, with a key-value cache."""
        self.model.eval()
        prompt = self.ids[:1, :16]
        with torch.no_grad():
            self.model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=n,
                min_new_tokens=n,
                do_sample=False,
                pad_token_id=0,
            )

    def merge(self):
        """Merge the adapter into W."""
        self.model = self.trained = self.model.merge_and_unload()

    def memory(self):
        """Nothing: every answer tells the most that was held."""

    def peak_bytes(self):
        """The most that the process has held so far; on a GPU, the most that tensors have."""
        if getattr(self, "device", "cpu") == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def versions(self):
        """Of what is compared."""
        return {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}


def gpt2(shape):
    """A GPT-2 of this shape."""
    config = transformers.GPT2Config(
        vocab_size=shape["V"],
        n_positions=max(shape["T"], 256),
        n_embd=shape["C"],
        n_layer=shape["L"],
        n_head=shape["H"],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=None,
    )
    return transformers.GPT2LMHeadModel(config)


def llama(shape):
    """A Llama of this shape, with a tied head."""
    config = transformers.LlamaConfig(
        vocab_size=shape["V"],
        max_position_embeddings=max(shape["T"], 256),
        hidden_size=shape["C"],
        intermediate_size=shape["F"],
        num_hidden_layers=shape["L"],
        num_attention_heads=shape["H"],
        num_key_value_heads=shape["G"],
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=None,
    )
    return transformers.LlamaForCausalLM(config)


def main():
    """Answer commands until there are no more."""
    peer = Peer(compiled="--compile" in sys.argv[1:])
    for line in sys.stdin:
        command = json.loads(line)
        started = time.perf_counter()
        answer = getattr(peer, command.pop("do"))(**command) or {}
        answer["seconds"] = time.perf_counter() - started
        answer["peak_bytes"] = peer.peak_bytes()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
