"""What `minilora demo` prints at its end."""

import textwrap

from minilora.experiments.text_table import aligned

MODELS = ("base", "LoRA", "full fine-tuning")
WIDTH = 100


def report(results, folder):
    """The demonstration's results as text.

    Parameters
    ----------
    results : dict
        From `demo.run`.
    folder : str or Path
        Where they are.

    Returns
    -------
    text : str
    """
    merging, switching = results["merging"], results["switching"]
    speed = {name: s["median"] for name, s in merging["tokens_per_second"].items()}
    return "\n".join(
        [
            *table(results),
            "",
            *samples(results),
            f"Merged into W, the adapter gives the same answer to {merging['same_answers']} of {merging['answers']} "
            f"prompts; logits differ by {merging['largest_logit_difference']:.0e} of the largest.",
            f"One sequence, tokens a second: base {speed['base']:,.0f}, LoRA merged {speed['LoRA, merged']:,.0f}, "
            f"LoRA beside W {speed['LoRA']:,.0f}.",
            f"Unmerged: the frozen weights are back to the bit: {yes(merging['unmerged_to_the_bit'])}",
            f"Adapter off: the model is the base to the bit: {yes(switching['base_to_the_bit'])}",
            f"Adapter from its file: the adapted model to the bit: {yes(switching['adapter_from_file_to_the_bit'])}",
            "",
            f"Figures (loss.png, singular_values.png, phi.png) and numbers (demo.json) are in {folder}.",
            f"It took {results['seconds']:.0f} seconds.",
        ]
    )


def table(results):
    """The comparison as aligned lines, a column for each model."""
    rows = [("", *MODELS)]

    def row(name, value):
        cells = []
        for model in MODELS:
            try:
                cells.append(value(results[model]))
            except KeyError:
                cells.append("-")
        rows.append((name, *cells))

    row("trainable parameters", lambda r: f"{r['trainable']:,}")
    row("% of all, A and B included", lambda r: f"{r['percent']:.2f}")
    row("test loss, nats a byte", lambda r: f"{r['loss']:.3f}")
    row("test loss, bits a byte", lambda r: f"{r['bits_per_byte']:.3f}")
    if "slot_exact" in results["base"]:
        row("slot-exact sentences, %", lambda r: f"{100 * r['slot_exact']:.0f}")
        row("slot error rate, %", lambda r: f"{100 * r['slot_error_rate']:.0f}")
    row("training, seconds", lambda r: f"{r['seconds']:.0f}")
    row("training, tokens a second", lambda r: f"{r['tokens_per_second']:,.0f}")
    row("peak memory of a step, MB", lambda r: megabytes(r["memory"]["peak"]))
    row("file, KB", lambda r: f"{r['file']['bytes'] / 1e3:,.0f}")
    return aligned(rows)


def samples(results, n=2):
    """What each model answers to the first n prompts."""
    lines = []
    for i in range(min(n, len(results["base"]["samples"]))):
        lines.append(labelled("prompt", results["base"]["samples"][i]["prompt"].strip()))
        lines += [labelled(model, results[model]["samples"][i]["answer"]) for model in MODELS]
        lines += [labelled("reference", results["base"]["samples"][i]["reference"]), ""]
    return lines


def labelled(label, text):
    """A label, and beside it a text, on one line or several."""
    indent = " " * 18
    text = " ".join(text.split()) or "(nothing)"
    return textwrap.fill(text, WIDTH, initial_indent=label.ljust(18), subsequent_indent=indent)


def megabytes(n):
    """Bytes as text in MB, or a dash where they are not known."""
    return "-" if n is None else f"{n / 1e6:.1f}"


def yes(fact):
    """ "yes" or "NO"."""
    return "yes" if fact else "NO"
