"""`minilora evaluate`: measure a model on a task."""

import argparse

from minilora.cli.measures import print_left_out, print_measures
from minilora.cli.options import add_adapter, add_bits, add_choice, add_device, add_json, add_model, add_task
from minilora.cli.parser import Parser
from minilora.cli.printing import print_json
from minilora.cli.tasks import open_model_and_task

EXAMPLE = "minilora evaluate --adapter runs/my-adapter/adapter.safetensors"


def add_options(p: Parser) -> None:
    """Which model, which task, which split."""
    add_model(p)
    add_adapter(p)
    add_bits(p)
    add_task(p)
    add_choice(p, "--split", ("valid", "test"), default="test", help="which held-out examples")
    add_device(p)
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Measure, and print the measures."""
    from minilora.experiments.measure import measure

    opened, task = open_model_and_task(options, options.adapter)
    measures = measure(opened.model, task, split=options.split, progress=True)
    if options.json:
        print_json({"task": task.name, "split": options.split, "left_out": task.left_out, **measures})
        return 0
    print(f"{task.name}, {options.split}:")
    print_left_out(task)
    print_measures(measures)
    return 0
