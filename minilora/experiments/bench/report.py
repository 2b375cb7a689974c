"""What `minilora bench` prints."""

from minilora.experiments.bench.blas import in_words
from minilora.experiments.bench.medians import LEVEL, NARROW
from minilora.experiments.bench.scaling import LETTERS
from minilora.experiments.text_table import aligned

STATES = {"lora": "LoRA beside W", "merged": "LoRA merged", "base": "base model"}
METHODS = {"lora": "LoRA", "full": "full fine-tuning"}


def report(results, folder, table=aligned):
    """The results as text.

    Parameters
    ----------
    results : dict
        From `run`.
    folder : str or Path
        Where the results are.
    table : callable
        Makes lines of rows.

    Returns
    -------
    lines : list of str
    """
    lines = []
    for part, rows_of in (("train", training), ("generate", generation), ("memory", memory), ("scaling", scaling)):
        if part in results:
            lines += [*table(rows_of(results[part])), ""]
    lines += [f"{peer}: left out; {why}" for peer, why in results.get("left_out", {}).items()]
    lines += how_well_known(results)
    if "blas" in results:
        lines.append(in_words(results["blas"]))
    made_on = results["provenance"]
    lines.append(f"{made_on['processor']}, {made_on['machine']}; NumPy {made_on['numpy']}, {made_on['date']}.")
    lines.append(f"Medians over the rounds, [smallest, largest]; bench.json is in {folder}.")
    return lines


def how_well_known(results):
    """Whether every median is known to 5 %, and which are not."""
    measured = {}
    for part in ("train", "generate"):
        for shape, rows in results.get(part, {}).items():
            measured |= {f"{shape}, {of}": row for of, row in rows.items() if "widths" in row}
    if not measured:
        return []
    bound, counts = f"{100 * NARROW:.0f} %", [row["rounds"] for row in measured.values()]
    wide = [
        f"{of}, {name}, {'too few rounds' if relative is None else f'{100 * relative:.0f} %'}"
        for of, row in measured.items()
        for name, relative in row["widths"].items()
        if relative is None or relative >= NARROW
    ]
    interval = f"{100 * LEVEL:.0f} % interval of {'each' if not wide else 'a'} median of seconds"
    after = f"after {min(counts)} to {max(counts)} rounds" if min(counts) < max(counts) else f"after {counts[0]} rounds"
    if not wide:
        return [f"The {interval} is narrower than {bound} of it, {after}."]
    return [f"NOT every {interval} is narrower than {bound} of it, {after}: {'; '.join(wide)}."]


def training(results):
    """A line for each shape and method: speed, ratio to the peer, fraction of the floor."""
    others = other_peers(results)
    against = [f"against {peer}" for peer in others]
    rows = [("a training step", "ms", "tokens/s", "against torch", *against, "of the floor, %")]
    for shape, methods in results.items():
        for method, r in methods.items():
            name = f"{shape}, {METHODS[method]}"
            rows.append(
                (
                    name,
                    f"{1e3 * r['seconds']['minilora']['median']:.1f}",
                    f"{r['tokens_per_second']:,.0f}",
                    spread(r.get("ratio"), ".2f"),
                    *(spread(r.get("ratios", {}).get(peer), ".2f") for peer in others),
                    spread(r.get("floor_percent"), ".0f"),
                )
            )
    return rows


def generation(results):
    """A line for each shape and state of the adapter: time per token, and ratio to the peer in the same state."""
    others = other_peers(results)
    against = [f"against {peer}" for peer in others]
    rows = [("generating, one sequence", "ms/token", "tokens/s", "against torch", *against, "merged : base, time")]
    for shape, states in results.items():
        for state, name in STATES.items():
            r = states[state]
            seconds = r["seconds"]["minilora"]["median"]
            beside = spread(states["merged_to_base"], ".2f") if state == "merged" else ""
            rows.append(
                (
                    f"{shape}, {name}",
                    f"{1e3 * seconds:.2f}",
                    f"{1 / seconds:,.0f}",
                    spread(r.get("ratio"), ".2f"),
                    *(spread(r.get("ratios", {}).get(peer), ".2f") for peer in others),
                    beside,
                )
            )
    return rows


def memory(results):
    """A line for each shape, method and contender: the most memory held, in MB, stage by stage."""
    rows = [("most memory held, MB", "imports", "with model", "in steps", "of torch's, %")]
    for shape, methods in results.items():
        for method, contenders in methods.items():
            for contender, peaks in contenders.items():
                part = ""
                if contender == "minilora" and "torch" in contenders:
                    part = f"{100 * peaks['step'] / contenders['torch']['step']:.0f}"
                cells = (f"{peaks[stage] / 1e6:,.0f}" for stage in ("imports", "model", "step"))
                rows.append((f"{shape}, {METHODS[method]}, {contender}", *cells, part))
    return rows


def scaling(results):
    """A line for each letter: slopes of log cost over log letter, measured and by formula."""
    rows = [("slope of log cost in", "time", "FLOPs", "activations", "by formula")]
    for letter, r in results.items():
        names = ("seconds", "flops", "bytes", "bytes_formula")
        rows.append((f"{letter}, {LETTERS[letter]}", *(f"{r['slopes'][name]:.2f}" for name in names)))
    return rows


def other_peers(results):
    """The peers other than PyTorch that took part, in order."""
    rows = [row for of_shape in results.values() for row in of_shape.values()]
    return list(dict.fromkeys(peer for row in rows for peer in row.get("ratios", ())))


def spread(value, form):
    """A median with its range, or an empty text."""
    return "" if value is None else f"{value['median']:{form}} [{value['min']:{form}}, {value['max']:{form}}]"
