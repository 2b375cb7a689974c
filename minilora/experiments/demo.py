"""The main job: adapt a pretrained decoder with LoRA and with full fine-tuning, and look at everything LoRA promises.

Few parameters, a small file, the same answers and no added latency once merged, and a base that is never touched.
"""

import time
from dataclasses import asdict
from pathlib import Path

import numpy

from minilora.arrays.backend import to_numpy
from minilora.data import load_task, text_task
from minilora.experiments import demo_figures, finetune
from minilora.experiments.demo_settings import configs, settings_for
from minilora.experiments.measure import LONGEST_ANSWER, generation_speed, measure, median_and_range
from minilora.experiments.record import provenance
from minilora.files import write_json
from minilora.interop.opening import open_language_model
from minilora.methods import bundled_adapter, load_adapter, merge_lora, set_adapter, unmerge_lora
from minilora.models import load_bundled
from minilora.models.decoder import Decoder
from minilora.models.generation import generate

LONGEST, WINDOW = 512, 256  # tokens of an example and of a window of text, where the model takes more


def preview(n=2):
    """What the bundled decoder, and the same with the adapter that comes with it, answer to mini-E2E's first prompts.

    Parameters
    ----------
    n : int
        How many prompts, of the valid split.

    Returns
    -------
    answers : list of dict of str to str
        prompt, base, and "bundled adapter".
    """
    model = load_bundled("decoder")
    task = load_task("mini-e2e", length=model.config.n_positions, n_train=1, n_held_out=96)
    prompts, _ = task.prompts("valid", n)
    how = {"max_tokens": LONGEST_ANSWER, "stop": task.tokenizer.end_of_text}
    answers = {"prompt": prompts, "base": generate(model, prompts, **how)}
    load_adapter(model, bundled_adapter())
    answers["bundled adapter"] = generate(model, prompts, **how)
    texts = [[task.tokenizer.decode(ids).strip() for ids in column] for column in answers.values()]
    return [dict(zip(answers, row, strict=True)) for row in zip(*texts, strict=True)]


def run(folder, run_folder, *, model="decoder", text=None, steps=None, device="cpu", seed=0, command=None, say=print):
    """Run the demonstration.

    Parameters
    ----------
    folder : str or Path
        Gets ``demo.json``, the figures, and ``figures.json``, which has what they draw.
    run_folder : str or Path
        Gets a folder for each method, with what it learned.
    model : str or Path
        A decoder, see `open_language_model`.
    text : str or Path, optional
        The user's own text file, instead of mini-E2E.
    steps : int, optional
        Training steps of each method; as many as suit the model's size, if not given.
    device : {"auto", "cpu", "gpu"}
    seed : int
    command : str, optional
        The command line, for the record.
    say : callable
        Takes a line of progress.

    Returns
    -------
    results : dict
        What ``demo.json`` holds.
    """
    folder, started = Path(folder), time.perf_counter()
    opened = open_language_model(model, device=device)
    base, tokenizer = opened.model, opened.tokenizer
    if not isinstance(base, Decoder):
        raise ValueError(f"model was {model}, a {type(base).__name__}; it must be a decoder, which writes text")
    settings = settings_for(base)
    adaptations = configs(base, "mini-e2e" if text is None else str(text), steps, seed)
    if text is None:
        length = min(int(base.longest_input), LONGEST)
        task = load_task("mini-e2e", length=length, n_train=settings.n_train, n_held_out=96, tokenizer=tokenizer)
    else:
        task = text_task(text, length=min(int(base.longest_input), WINDOW), tokenizer=tokenizer)
    say(f"{opened.name}, on {task.name} as it is ...")
    results = {
        "command": command,
        "task": {"name": task.name, "id": task.id},
        "model": {
            "name": opened.name,
            **asdict(base.config),
            "parameters": sum(p.data.size for p in base.parameters()),
        },
        "n_shown": settings.n_shown,
        "base": measure(base, task, n_prompts=settings.n_prompts, progress=True),
    }
    models, histories = {}, {}
    for label, config in adaptations.items():
        models[label] = open_language_model(model, device=device).model
        results[label], histories[label] = finetune.run(
            models[label],
            task,
            config,
            Path(run_folder) / config.method,
            command=command,
            about=opened.about(),
            n_prompts=settings.n_prompts,
        )
    say("Merging, switching, measuring ...")
    results["merging"] = merging(models["LoRA"], base, task, tokens=settings.n_speed)
    results["switching"] = switching(models["LoRA"], base, task, Path(run_folder) / "lora" / "adapter.safetensors")
    results |= {**provenance(), "seconds": time.perf_counter() - started}
    write_json(folder / "demo.json", results)
    drawn = demo_figures.numbers(base, models, histories, per_byte=task.bytes_per_token("valid"))
    write_json(folder / demo_figures.NUMBERS, drawn)
    demo_figures.draw(folder, results, drawn)
    return results


def merging(model, base, task, *, tokens=128):
    """Merged, the adapted model gives the same answers at the base model's speed; unmerging restores W to the bit."""
    prompts, _ = task.prompts("test", 16)
    ids = model.to_model(next(iter(task.batches("test", 4))).ids)
    logits, answers = model.forward(ids)[0], generate(model, prompts, max_tokens=64)
    before = {name: to_numpy(p.data).copy() for name, p in model.named_parameters()}
    merge_lora(model)
    merged_logits, merged_answers = model.forward(ids)[0], generate(model, prompts, max_tokens=64)
    unmerge_lora(model)

    def merged():
        merge_lora(model)
        return model

    def unmerged():
        unmerge_lora(model)
        return model

    speeds = generation_speed(
        {"base": lambda: base, "LoRA": unmerged, "LoRA, merged": merged}, prompts[0], tokens=tokens
    )
    unmerge_lora(model)
    difference = numpy.abs(to_numpy(merged_logits) - to_numpy(logits)).max()
    return {
        "largest_logit_difference": float(difference / numpy.abs(to_numpy(logits)).max()),
        "same_answers": sum(a == b for a, b in zip(answers, merged_answers, strict=True)),
        "answers": len(answers),
        "unmerged_to_the_bit": all(numpy.array_equal(to_numpy(p.data), before[n]) for n, p in model.named_parameters()),
        "tokens_per_second": {name: median_and_range(values) for name, values in speeds.items()},
    }


def switching(model, base, task, adapter_file):
    """Without its adapter the model is the base, to the bit; the adapter's file brings the adapted model back."""
    ids = model.to_model(next(iter(task.batches("test", 4))).ids)
    adapted = model.forward(ids)[0]
    set_adapter(model, None)
    is_base = numpy.array_equal(to_numpy(model.forward(ids)[0]), to_numpy(base.forward(ids)[0]))
    load_adapter(model, adapter_file, name="from the file", other_base=True)  # is_base says whether it is another
    is_adapted = numpy.array_equal(to_numpy(model.forward(ids)[0]), to_numpy(adapted))
    set_adapter(model, "default")
    return {"base_to_the_bit": is_base, "adapter_from_file_to_the_bit": is_adapted}
