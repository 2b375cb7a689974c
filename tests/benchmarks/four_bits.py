"""A LoRA training step on SmolLM2-135M beside frozen matrices in float32, and in 4 and 8 bits: time and memory.

    python tests/benchmarks/four_bits.py --rounds 5 --out figures/bench

Every turn is a process of its own, and the kinds take turns; see smollm2.py, whose step this is. The numbers of a
matrix are computed where they are needed, twice a step: so the more tokens a step has, the less it costs.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from smollm2 import OUR_TURN, RANK, TARGETS, measured, weights
from speed_page import bits_of_smollm2

from minilora.experiments.record import provenance
from minilora.experiments.text_table import aligned
from minilora.files import write_json

SHAPES = {"1 x 256": (1, 256), "2 x 256": (2, 256)}
KINDS = {"4 bits": 4, "8 bits": 8}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--out", default="figures/latest")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        name = weights(Path(folder) / "model")
        for kind, shape in ((k, s) for k in KINDS for s in options.shapes.split(",")):
            N, T = SHAPES[shape]
            turn = {"folder": str(Path(folder) / "model"), "targets": TARGETS["all seven"], "N": N, "T": T}
            turn |= {"rank": RANK, "steps": options.steps, "threads": min(options.threads, N)}
            print(f"{kind}, {shape}:", flush=True)
            sides = {kind: (OUR_TURN, {"bits": KINDS[kind]}), "float32": (OUR_TURN, {})}
            results[f"{kind}, {shape}"] = measured(sides, turn, options.rounds)
    command = f"python tests/benchmarks/four_bits.py --rounds {options.rounds} --steps {options.steps}"
    record = {"command": command, "weights": name, "provenance": provenance(), "results": results}
    write_json(Path(options.out) / "four_bits.json", record)
    print(f"\n{name}\n" + "\n".join(aligned(bits_of_smollm2(results))))


if __name__ == "__main__":
    sys.exit(main())
