"""figures/README.md: every figure and table with the command that made it, ours next to the paper's."""

import json
from pathlib import Path

import minilora
from minilora.experiments.experiment import about, claim_lines, title
from minilora.experiments.paper import EXPERIMENTS
from minilora.files import write_atomically

OTHERS = Path("others.md")  # in the folder: what is not an experiment of the paper, written by hand


def write_page(folder):
    """Write ``README.md`` from the experiments' JSON files in a folder; only full runs are accepted.

    Those on the bundled models are in the folder itself, those on another base in a folder of its name.

    Parameters
    ----------
    folder : str or Path

    Raises
    ------
    ValueError
        If a file is not an experiment's result, or is damaged.
    """
    folder = Path(folder)
    sections = [section(name, folder, place) for name in EXPERIMENTS for place in places_of(name, folder)]
    others = (folder / OTHERS).read_text() if (folder / OTHERS).exists() else ""
    head = (
        "# Figures\n\n`minilora reproduce` writes this page. Each experiment is a small version of the paper's: "
        "another model, another task, the same question. Where seeds are compared, ± is the standard deviation over "
        "them."
    )
    write_atomically(folder / "README.md", "\n\n".join([head, *sections, others.rstrip()]).rstrip() + "\n")


def places_of(name, folder):
    """Where in a folder an experiment's results are: "", if in the folder itself, then each base's folder with a slash.

    A folder that has not the name of its results' base, such as figures/latest, is another page's.
    """
    bases = []
    for path in sorted(folder.glob(f"*/{name}.json")):
        if read_record(path, name).get("base", {}).get("label") == path.parent.name:
            bases.append(f"{path.parent.name}/")
    return ([""] if (folder / f"{name}.json").exists() else []) + bases


def section(name, folder, place=""):
    """One experiment, as Markdown; `place` is the folder of its base, with a slash, or nothing."""
    path = folder / place / f"{name}.json"
    experiment, record = EXPERIMENTS[name], read_record(path, name)
    if record["quick"]:
        raise ValueError(f"{path} is of a quick run; its numbers mean nothing, and must not stand here")
    version = "" if record["minilora"] == minilora.__version__ else f" by minilora {record['minilora']}"
    made = f"Made{version} with `{record['command']}`, Python {record['python']}, NumPy {record['numpy']}, "
    return "\n\n".join(
        [
            f"## {title(experiment, record)}",
            about(experiment, record),
            f"![{experiment.title}]({place}{name}.png)",
            "```text\n" + "\n".join(experiment.table(record["results"])) + "\n```",
            claim_lines(experiment, record),
            made + f"{record['processor']}, {record['date']}; numbers in [{place}{name}.json]({place}{name}.json).",
        ]
    )


def read_record(path, name):
    """What `reproduce` wrote; ValueError if it did not."""
    try:
        record = json.loads(Path(path).read_text())
        known = record["experiment"] == name and {"results", "quick", "command", "minilora"} <= record.keys()
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise ValueError(f"{path} is not a result of `minilora reproduce {name}`, or it is damaged")
    return record
