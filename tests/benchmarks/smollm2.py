"""A LoRA training step on SmolLM2-135M: tokens per second and memory, beside PyTorch with transformers and PEFT.

    python tests/benchmarks/smollm2.py --peer-python .venv-torch/bin/python --out figures/bench

Both train on the same weights and shapes in float32: SmolLM2's own where `make llm` has installed it, random ones of
its shape elsewhere. Every turn is a process of its own, and the two sides take turns, so that a ratio is of two turns
of one round. A step is forward, loss on every token, backward and AdamW; the first one is not timed. Memory is the most
that the process holds during the timed steps (Linux), its imports and weights included.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
from smollm2_turn import most_held, reset_most_held
from speed_page import steps_of_smollm2

from minilora import Llama, LlamaConfig, LoRAConfig, apply_lora
from minilora.data import LMBatch
from minilora.experiments.measure import median_and_range
from minilora.experiments.record import provenance
from minilora.experiments.text_table import aligned
from minilora.files import write_json
from minilora.interop import load_gguf, load_llama, save_hf
from minilora.interop.smollm2 import smollm2_file
from minilora.layers import QuantizedParameter
from minilora.methods import quantize
from minilora.training import AdamW
from minilora.training.objective import DataParallel

HERE = Path(__file__).resolve().parent
OUR_TURN = [sys.executable, str(HERE / "smollm2.py"), "turn"]
RANK = 8
SHAPES = {"8 x 64": (8, 64), "2 x 256": (2, 256)}
TARGETS = {
    "q, v": ("q_proj", "v_proj"),
    "all seven": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}
SMOLLM2 = {
    "vocab_size": 49152,
    "n_layer": 30,
    "d_model": 576,
    "n_head": 9,
    "n_kv_head": 3,
    "d_mlp": 1536,
    "n_positions": 8192,
    "rope_theta": 1e5,
    "tied_head": True,
}


def weights(folder):
    """Write the folder that both sides read; returns what its weights are."""
    try:
        model, name = load_gguf(smollm2_file()), "SmolLM2-135M-Instruct, dequantised"
    except RuntimeError:
        model, name = Llama(LlamaConfig(**SMOLLM2), numpy.random.default_rng(0)), "random weights of SmolLM2's shape"
    save_hf(model, folder)
    return name


def our_turn(turn):
    """minilora's side of a turn, in this process."""
    rng = numpy.random.default_rng(0)
    model = load_llama(turn["folder"])
    if turn.get("bits"):
        quantize(model, turn["bits"])
    apply_lora(model, LoRAConfig(rank=turn["rank"], alpha=2 * turn["rank"], targets=tuple(turn["targets"])), rng=rng)
    optimizer = AdamW(model.trainable_parameters(), lr=1e-4)
    ids = rng.integers(0, model.config.vocab_size, (turn["N"], turn["T"] + 1))
    batch = LMBatch(ids[:, :-1], ids[:, 1:], numpy.ones((turn["N"], turn["T"]), bool))
    with DataParallel(model, threads=turn["threads"]) as parallel:

        def step():
            model.zero_grad()
            loss = float(parallel.loss_and_backward(batch))
            optimizer.step()
            return loss

        losses = [step()]
        reset_most_held()
        started = time.perf_counter()
        losses += [step() for _ in range(turn["steps"])]
        seconds = (time.perf_counter() - started) / turn["steps"]
    trainable = sum(p.data.size for p in model.trainable_parameters())
    kept = sum(p.nbytes if isinstance(p, QuantizedParameter) else p.data.nbytes for p in model.parameters())
    return {"seconds": seconds, "bytes": most_held(), "parameters": kept, "trainable": trainable, "losses": losses}


def ask(command, turn):
    """One turn in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    answer = subprocess.run([*command, json.dumps(turn)], capture_output=True, text=True, env=environment)
    if answer.returncode:
        raise RuntimeError(f"{command[1]} stopped: {answer.stderr.strip().splitlines()[-1]}")
    return json.loads(answer.stdout.splitlines()[-1])


def measured(sides, turn, rounds):
    """The median and range of what each side measures, and of the ratios of a round.

    Parameters
    ----------
    sides : dict of str to (list of str, dict)
        A command for each side, and what its turn has of its own.
    turn : dict
    rounds : int
    """
    answers = {side: [] for side in sides}
    for _ in range(rounds):
        for side, (command, own) in sides.items():
            time.sleep(1.0)
            answers[side].append(ask(command, turn | own))
            print(
                f"  {side} {answers[side][-1]['seconds']:.2f} s, {answers[side][-1]['bytes'] / 1e6:.0f} MB", flush=True
            )
    tokens = turn["N"] * turn["T"]
    results = {
        side: {
            "tokens/s": median_and_range([tokens / answer["seconds"] for answer in given]),
            "MB": median_and_range([answer["bytes"] / 1e6 for answer in given]),
            "trainable": given[0]["trainable"],
            "MB of parameters": given[0].get("parameters", 0) / 1e6 or None,
            "losses": given[0]["losses"],
        }
        for side, given in answers.items()
    }
    if len(sides) > 1:
        ours, peer = answers.values()
        pairs = list(zip(ours, peer, strict=True))
        results["times as fast"] = median_and_range([b["seconds"] / a["seconds"] for a, b in pairs])
        results["of its memory"] = median_and_range([a["bytes"] / b["bytes"] for a, b in pairs])
        results["peer"] = {name: peer[0][name] for name in ("torch", "transformers", "peft") if name in peer[0]}
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=os.environ.get("MINILORA_PEER_PYTHON"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--out", default="figures/latest")
    options = parser.parse_args()
    sides = {"minilora": (OUR_TURN, {})}
    if options.peer_python:
        sides["torch"] = ([options.peer_python, str(HERE / "smollm2_peer.py")], {})
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        name = weights(Path(folder) / "model")
        for targets, shape in ((t, s) for t in TARGETS for s in options.shapes.split(",")):
            N, T = SHAPES[shape]
            turn = {"folder": str(Path(folder) / "model"), "targets": TARGETS[targets], "N": N, "T": T, "rank": RANK}
            turn |= {"steps": options.steps, "threads": options.threads}
            print(f"{targets}, {shape}:", flush=True)
            results[f"{targets}, {shape}"] = measured(sides, turn, options.rounds)
    command = f"python tests/benchmarks/smollm2.py --rounds {options.rounds} --steps {options.steps}"
    made = provenance() | next(iter(results.values())).get("peer", {})
    record = {"command": command, "weights": name, "provenance": made, "results": results}
    write_json(Path(options.out) / "smollm2.json", record)
    print(f"\n{name}, {options.threads} threads\n" + "\n".join(aligned(steps_of_smollm2(results))))


if __name__ == "__main__":
    if sys.argv[1:2] == ["turn"]:
        print(json.dumps(our_turn(json.loads(sys.argv[2]))))
    else:
        main()
