"""`minilora bench`: what is measured, and in which order."""

import os
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from minilora.arrays.threads import cores
from minilora.experiments.bench.contenders import Contender, contenders, our_command, peer_command, rounds
from minilora.experiments.bench.scaling import measure_scaling
from minilora.experiments.bench.shapes import SHAPES, flops_of_step
from minilora.experiments.measure import median_and_range
from minilora.experiments.record import provenance
from minilora.files import write_json

PARTS = ("train", "generate", "memory", "scaling")
TURN_SECONDS = 0.4  # a turn takes as many steps as fit, at least one
TOKENS = 64


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
    rounds : int
    threads : int
        For each contender; a GPU is driven by one thread.
    device : {"cpu", "gpu"}
        Scaling is measured on a CPU only.
    seed : int
        For weights and token ids.
    peer_python : str, optional
        A Python that has torch, transformers and peft; without one, there is no comparison.
    """

    parts: tuple[str, ...] = PARTS
    shapes: tuple[str, ...] = ("S1", "S2", "S3")
    methods: tuple[str, ...] = ("lora", "full")
    rounds: int = 7
    threads: int = cores()
    device: str = "cpu"
    seed: int = 0
    peer_python: str | None = None

    def __post_init__(self):
        for field, known in (("parts", PARTS), ("shapes", tuple(SHAPES)), ("methods", ("lora", "full"))):
            for name in getattr(self, field):
                if name not in known:
                    raise ValueError(f"{field} held {name!r}; each must be one of {', '.join(known)}")
        for field in ("rounds", "threads"):
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
        By part, shape and method: seconds of each contender as median, min and max over the rounds; `ratio`, the peer's
        seconds divided by ours in the same round; `floor_percent`, the time of the matrix products in percent of ours.
    """
    commands = {"minilora": our_command()}
    if config.peer_python is not None:
        commands["torch"] = peer_command(config.peer_python)
    results = {"command": command, "config": asdict(config), **about(commands)}
    parts = {"train": measure_training, "generate": measure_generation, "memory": measure_memory}
    jobs = [(part, shape) for part in config.parts if part in parts for shape in config.shapes]
    for part, shape in tqdm(jobs, desc="bench", disable=not progress):
        results.setdefault(part, {})[shape] = parts[part](config, commands, shape)
    if "scaling" in config.parts:
        with contenders({"minilora": commands["minilora"]}) as started:
            results["scaling"] = measure_scaling(started["minilora"], config.threads, config.rounds, config.seed)
    write_json(Path(out) / "bench.json", results)
    return results


def about(commands):
    """Versions, machine and date, including the peer's versions."""
    record = {"provenance": provenance()}
    if "torch" in commands:
        with contenders({"torch": commands["torch"]}) as started:
            answer = started["torch"].ask("versions")
        record["provenance"] |= {name: answer[name] for name in ("torch", "transformers", "peft")}
    return record


def make(contender, config, shape_name, method):
    """Let a contender make its model."""
    shape = asdict(SHAPES[shape_name])
    options = {"threads": config.threads, "device": config.device, "seed": config.seed}
    return contender.ask("make", shape=shape, method=method, **options)


def measure_training(config, commands, shape_name):
    """Seconds of a training step of each contender, and of its matrix products alone, for each method."""
    shape = SHAPES[shape_name]
    results = {}
    for method in config.methods:
        made = {**commands, "floor": commands["minilora"]} if config.device == "cpu" else commands
        with contenders(made) as started:
            for contender in started.values():
                make(contender, config, shape_name, method)
            turns, steps = {}, {}
            for name, contender in started.items():
                do = "floor" if name == "floor" else "train"
                contender.ask(do, n=2)  # the first step of a GPU compiles its kernels
                steps[name] = max(1, round(TURN_SECONDS / contender.ask(do, n=1)["seconds"]))

                def turn(contender=contender, do=do, n=steps[name]):
                    return contender.ask(do, n=n)["seconds"] / n

                turns[name] = turn
            seconds = rounds(turns, config.rounds)
        results[method] = compared(seconds)
        results[method]["tokens_per_second"] = shape.N * shape.T / results[method]["seconds"]["minilora"]["median"]
        results[method]["gflops"] = flops_of_step(shape, method) / 1e9
    return results


def measure_generation(config, commands, shape_name):
    """Seconds per token of one sequence, with a key-value cache: LoRA next to W, merged into W, and the base model."""
    made = {(name, state): command for name, command in commands.items() for state in ("lora", "merged", "base")}
    with contenders(made) as started:
        for (_, state), contender in started.items():
            make(contender, config, shape_name, "base" if state == "base" else "lora")
            if state == "merged":
                contender.ask("merge")
            contender.ask("generate", n=8)

        def turn_of(contender):
            return lambda: contender.ask("generate", n=TOKENS)["seconds"] / TOKENS

        seconds = rounds({key: turn_of(contender) for key, contender in started.items()}, config.rounds)
    results = {}
    for state in ("lora", "merged", "base"):
        results[state] = compared({name: seconds[name, state] for name in commands})
    ours = seconds["minilora", "merged"], seconds["minilora", "base"]
    results["merged_to_base"] = median_and_range([merged / base for merged, base in zip(*ours, strict=True)])
    return results


def compared(seconds):
    """The contenders' seconds with their spread, and the ratios of each round."""
    result = {"seconds": {name: median_and_range(values) for name, values in seconds.items()}}
    ours = seconds["minilora"]
    if "torch" in seconds:
        result["ratio"] = median_and_range([t / o for t, o in zip(seconds["torch"], ours, strict=True)])
    if "floor" in seconds:
        result["floor_percent"] = median_and_range([100 * f / o for f, o in zip(seconds["floor"], ours, strict=True)])
    return result


def measure_memory(config, commands, shape_name):
    """The peak memory of a fresh process, in bytes: after its imports, with model and optimizer, after steps."""
    results = {}
    for method in config.methods:
        results[method] = {}
        for name, command in commands.items():
            with closing(Contender(command)) as contender:
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
