"""`minilora bench`: what is measured, and in which order."""

import contextlib
import os
import shlex
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from minilora.arrays.threads import cores
from minilora.experiments.bench.blas import blas, pinned
from minilora.experiments.bench.contenders import PEERS, Contender, contenders, our_command, peer_command, rounds
from minilora.experiments.bench.medians import width
from minilora.experiments.bench.scaling import measure_scaling
from minilora.experiments.bench.shapes import SHAPES, flops_of_step
from minilora.experiments.measure import median_and_range
from minilora.experiments.record import provenance
from minilora.files import write_json
from minilora.interop.smollm2 import smollm2_file

PARTS = ("train", "generate", "memory", "scaling")
TURN_SECONDS = 0.4  # a turn takes as many steps as fit, at least one
TOKENS = 64
EAGER = ("minilora", "torch")  # they take part in everything


@dataclass(frozen=True)
class BenchConfig:
    """What `run` measures.

    Parameters
    ----------
    parts : tuple of str
        Any of "train", "generate", "memory" and "scaling".
    shapes : tuple of str
        Names in SHAPES.
    methods : tuple of str
        Any of "lora" and "full", for training and memory.
    rounds, most_rounds : int
        Of training and generation: at least so many, and at most so many, until the median of each contender's seconds
        is known to 5 % (`medians`). Scaling takes `rounds`.
    threads : int
        For each contender; a GPU is driven by one thread.
    device : {"cpu", "gpu"}
        Scaling is measured on a CPU only.
    seed : int
        For weights and token ids.
    against : tuple of str
        Any of "torch"; "torch-compiled", for training; and "llama.cpp", for generation with SmolLM2's shape.
    peer_python : str, optional
        A Python that has them: torch, transformers and peft, or xllamacpp.
    """

    parts: tuple[str, ...] = PARTS
    shapes: tuple[str, ...] = ("S1", "S2", "S3")
    methods: tuple[str, ...] = ("lora", "full")
    rounds: int = 7
    most_rounds: int = 30
    threads: int = cores()
    device: str = "cpu"
    seed: int = 0
    against: tuple[str, ...] = ()
    peer_python: str | None = None

    def __post_init__(self):
        all_known = {"parts": PARTS, "shapes": SHAPES, "methods": ("lora", "full"), "against": PEERS}
        for field, known in all_known.items():
            for name in getattr(self, field):
                if name not in known:
                    raise ValueError(f"{field} held {name!r}; each must be one of {', '.join(known)}")
        for field in ("rounds", "most_rounds", "threads"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{field} was {value!r}; it must be an integer of at least 1")
        if self.device == "gpu" and "scaling" in self.parts:
            raise ValueError("parts held 'scaling'; on a GPU each must be one of train, generate, memory")
        if self.device == "gpu":
            object.__setattr__(self, "threads", 1)


def run(config, out, *, command="", progress=True):
    """Measure, and write bench.json into the folder `out`.

    Returns
    -------
    dict
        By part, shape and method: seconds of each contender as median, min and max over the rounds; `widths`, those of
        the medians' intervals in units of the medians; `ratio`, PyTorch's seconds divided by ours in the same round,
        and `ratios`, those of the other peers; `floor_percent`, the time of the matrix products in percent of ours.
        `blas` is what computed them, `pinned` what kept it from choosing, and `left_out` why a peer took no part, or a
        part was not measured.
    """
    commands = {"minilora": our_command()}
    commands |= {name: peer_command(config.peer_python, name) for name in config.against}
    found = {"blas": blas(), "pinned": pinned()}
    settings = {name: value for name, value in asdict(config).items() if name != "peer_python"}
    made = {"command": without_peer_python(command), "config": settings}  # where the peers lie is of one machine alone
    results = {**made, **about(commands), **found, "left_out": {}}
    parts = {"train": measure_training, "generate": measure_generation, "memory": measure_memory}
    if "memory" in config.parts and config.device == "cpu" and find_spec("resource") is None:
        del parts["memory"]
        results["left_out"]["memory"] = "this system does not say how much a process has held"
    jobs = [(part, shape) for part in config.parts if part in parts for shape in config.shapes]
    for part, shape in tqdm(jobs, desc="bench", disable=not progress or sys.stderr is None):
        results.setdefault(part, {})[shape] = parts[part](config, commands, shape, results["left_out"])
    if "scaling" in config.parts:
        with contenders({"minilora": commands["minilora"]}) as started:
            results["scaling"] = measure_scaling(started["minilora"], config.threads, config.rounds, config.seed)
    write_json(Path(out) / "bench.json", results)
    return results


def without_peer_python(command):
    """A command line without ``--peer-python FILE``."""
    kept, words = [], iter(shlex.split(command))
    for word in words:
        if word == "--peer-python":
            next(words, None)
        elif not word.startswith("--peer-python="):
            kept.append(word)
    return shlex.join(kept)


def about(commands):
    """Versions, machine and date, including the peer's versions."""
    record = {"provenance": provenance()}
    for name in commands.keys() - {"minilora"}:
        forgiven = () if name in EAGER else (RuntimeError,)  # it will be left out, and told
        with contenders({name: commands[name]}) as started, contextlib.suppress(*forgiven):
            versions = started[name].ask("versions")
            record["provenance"] |= {of: versions[of] for of in versions.keys() - {"seconds", "peak_bytes"}}
    return record


def make(contender, config, shape_name, method):
    """Let a contender make its model."""
    shape = asdict(SHAPES[shape_name])
    options = {"threads": config.threads, "device": config.device, "seed": config.seed}
    return contender.ask("make", shape=shape, method=method, **options)


def measure_training(config, commands, shape_name, left_out):
    """Seconds of a training step of each contender, and of its matrix products alone, for each method."""
    shape = SHAPES[shape_name]
    results = {}
    for method in config.methods:
        made = {name: command for name, command in commands.items() if name != "llama.cpp"}
        made |= {"floor": commands["minilora"]} if config.device == "cpu" else {}
        with contenders(made) as started:
            turns = {}
            for name, contender in started.items():
                do = "floor" if name == "floor" else "train"
                try:
                    make(contender, config, shape_name, method)
                    contender.ask(do, n=2)  # the first step compiles: a GPU's kernels, or the whole of it
                    n = max(1, round(TURN_SECONDS / contender.ask(do, n=1)["seconds"]))
                except RuntimeError as error:
                    if name in (*EAGER, "floor"):
                        raise
                    left_out[f"{name}, {shape_name}, {method}"] = str(error)
                    continue

                def turn(contender=contender, do=do, n=n):
                    return contender.ask(do, n=n)["seconds"] / n

                turns[name] = turn
            seconds = rounds(turns, config.rounds, config.most_rounds, title=f"{shape_name}, {method}")
        results[method] = compared(seconds)
        results[method]["tokens_per_second"] = shape.N * shape.T / results[method]["seconds"]["minilora"]["median"]
        results[method]["gflops"] = flops_of_step(shape, method) / 1e9
    return results


def measure_generation(config, commands, shape_name, left_out):
    """Seconds per token of one sequence, with a key-value cache: LoRA next to W, merged into W, and the base model."""
    names, states = [name for name in EAGER if name in commands], ("lora", "merged", "base")
    made = {(name, state): commands[name] for name in names for state in states}
    if "llama.cpp" in commands:
        made["llama.cpp", "base"] = commands["llama.cpp"]
    with contenders(made) as started:
        for (name, state), contender in list(started.items()):
            try:
                if name == "llama.cpp":
                    make_llama_cpp(contender, config, shape_name)
                else:
                    make(contender, config, shape_name, "base" if state == "base" else "lora")
                if state == "merged":
                    contender.ask("merge")
                contender.ask("generate", n=8)
            except RuntimeError as error:
                if name in EAGER:
                    raise
                left_out[f"{name}, {shape_name}"] = str(error)
                del made[name, state]

        def turn_of(contender):
            return lambda: contender.ask("generate", n=TOKENS)["seconds"] / TOKENS

        turns = {key: turn_of(started[key]) for key in made}
        seconds = rounds(turns, config.rounds, config.most_rounds, title=f"{shape_name}, generate")
    results = {}
    for state in states:
        results[state] = compared({name: values for (name, of), values in seconds.items() if of == state})
    ours = seconds["minilora", "merged"], seconds["minilora", "base"]
    results["merged_to_base"] = median_and_range([merged / base for merged, base in zip(*ours, strict=True)])
    return results


def make_llama_cpp(contender, config, shape_name):
    """Let llama.cpp open what our base model is, with the same float32 numbers."""
    if SHAPES[shape_name] != SHAPES["smollm2"]:
        raise RuntimeError("llama.cpp needs a tokenizer, and only SmolLM2's shape has one")
    like = str(smollm2_file())
    with tempfile.TemporaryDirectory() as folder, closing(Contender(our_command())) as writer:
        path = str(Path(folder) / "base.gguf")
        make(writer, config, shape_name, "base")
        writer.ask("save", path=path, like=like)
        contender.ask("make", path=path, threads=config.threads)


def compared(seconds):
    """The contenders' seconds with their spread, and the ratios of each round."""
    widths = {name: width(values) for name, values in seconds.items()}
    result = {
        "seconds": {name: median_and_range(values) for name, values in seconds.items()},
        "rounds": len(seconds["minilora"]),
        "widths": {name: relative if relative < float("inf") else None for name, relative in widths.items()},
    }
    ours = seconds["minilora"]
    ratios = {
        name: median_and_range([t / o for t, o in zip(seconds[name], ours, strict=True)])
        for name in PEERS
        if name in seconds
    }
    if "torch" in ratios:
        result["ratio"] = ratios.pop("torch")
    if ratios:
        result["ratios"] = ratios
    if "floor" in seconds:
        result["floor_percent"] = median_and_range([100 * f / o for f, o in zip(seconds["floor"], ours, strict=True)])
    return result


def measure_memory(config, commands, shape_name, left_out):
    """The peak memory of a fresh process, in bytes: after its imports, with model and optimizer, after steps."""
    results = {}
    for method in config.methods:
        results[method] = {}
        for name in (name for name in EAGER if name in commands):
            with closing(Contender(commands[name])) as contender:
                peaks = [contender.ask("memory")["peak_bytes"]]
                peaks += [
                    make(contender, config, shape_name, method)["peak_bytes"],
                    contender.ask("train", n=3)["peak_bytes"],
                ]
            results[method][name] = dict(zip(("imports", "model", "step"), peaks, strict=True))
    return results


def default_peer_python():
    """Where to look for the peer's environment."""
    return os.path.join(".venv-torch", "Scripts" if os.name == "nt" else "bin", "python")
