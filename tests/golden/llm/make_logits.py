"""SmolLM2's logits in float64, by transformers:  PYTHON make_logits.py SmolLM2-135M-Instruct.Q4_1.gguf

PYTHON has torch, transformers and gguf; nothing of minilora is used. transformers computes RoPE and RMSNorm in float32
whatever the model's dtype, so both are replaced here by the same formulas in float64. The weights are those that `gguf`
makes of the file's four bits, with the rows of q and k in Hugging Face's order.

logits.safetensors has, for prompt n, "n.ids" (T,), "n.logits" (T, 103): at every position the logits of every 480th id,
and "n.logsumexp" (T,), which all the other logits are in.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from gguf import GGUFReader, dequantize
from safetensors.numpy import save_file
from transformers.models.llama import modeling_llama

PROMPTS = [
    "The capital of France is",
    "<|im_start|>user\nWrite 12 + 345 in words, please.<|im_end|>\n<|im_start|>assistant\n",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return fib",
]
THETA, EVERY = 100000.0, 480
NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
REST = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


class RMSNorm64(torch.nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = torch.nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return self.weight * x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.eps)


def rotation64(self, x, position_ids):
    K = self.config.hidden_size // self.config.num_attention_heads
    frequencies = THETA ** (-2.0 * torch.arange(K // 2, dtype=torch.float64) / K)
    angles = position_ids[..., None].double() * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def main(path):
    modeling_llama.LlamaRMSNorm = RMSNorm64
    modeling_llama.LlamaRotaryEmbedding.forward = rotation64
    reader = GGUFReader(path)
    eps = float(reader.fields["llama.attention.layer_norm_rms_epsilon"].contents())
    H, G = 9, 3
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=H,
        num_key_value_heads=G, rms_norm_eps=eps, tie_word_embeddings=True, max_position_embeddings=8192,
        attn_implementation="sdpa",
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).double()
    state = {}
    for t in reader.tensors:
        W = dequantize(t.data, t.tensor_type).reshape([int(n) for n in t.shape[::-1]]).astype("float64")
        if t.name in REST:
            name = REST[t.name]
        else:
            _, layer, part, _ = t.name.split(".")
            name = f"model.layers.{layer}.{NAMES[part]}.weight"
            if part in ("attn_q", "attn_k"):  # 2 i and 2 i + 1 of a head become i and i + K/2
                n = H if part == "attn_q" else G
                W = W.reshape(n, -1, 2, W.shape[1]).transpose(0, 2, 1, 3).reshape(W.shape)
        state[name] = torch.from_numpy(np.ascontiguousarray(W))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected
    model.tie_weights()
    ids_of = encoder(path)
    out = {}
    for n, prompt in enumerate(PROMPTS):
        ids = ids_of(prompt)
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        assert logits.dtype == torch.float64
        out[f"{n}.ids"] = np.array(ids)
        out[f"{n}.logits"] = np.ascontiguousarray(logits[:, ::EVERY].numpy())
        out[f"{n}.logsumexp"] = logits.logsumexp(-1).numpy()
    save_file(out, Path(__file__).with_name("logits.safetensors"))


def encoder(path):
    """llama.cpp's own tokenizer."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "llm"))
    from peer_llama_cpp import ids_of, start

    server = start({"model": str(path)})
    return lambda text: ids_of(server, text)


if __name__ == "__main__":
    main(sys.argv[1])
