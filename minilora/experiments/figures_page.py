"""figures/README.md: every figure and table with the command that made it, ours next to the paper's."""

import json
import re
from collections import Counter
from pathlib import Path

import minilora
from minilora.data.classification import LOWER_CASE_SINCE
from minilora.experiments.claims import count, verdict
from minilora.experiments.drawing import bundled_model, of_an_earlier_one, terms_of
from minilora.experiments.experiment import about, claim_lines, title
from minilora.experiments.paper import EXPERIMENTS
from minilora.experiments.verdicts import FEWEST, LEVEL, VERDICTS
from minilora.files import write_atomically
from minilora.models import bundled_recipe

OTHERS = Path("others.md")  # in the folder: what is not an experiment of the paper, written by hand


DEFINITION = f"""\
Each section ends with claims and their verdicts. A claim compares means; in brackets is the {100 * LEVEL:.0f} % \
confidence interval of their difference (Student's t), which is positive where it speaks for the claim.

- **Better**: holds if the interval lies above 0, does not hold if it lies below 0, and else is undecided.
- **No worse**: the same with minus a margin in the place of 0. **As good**: holds if the interval lies within ± the \
margin, does not hold if it lies outside (two one-sided tests). Each margin stands beside its claim, with the reason.
- Differences are paired: the same seed gives both sides the same batches in the same order. n is the number of \
pairs; with fewer than {FEWEST} the verdict is always undecided. p is that of the bound, two-sided.
- Several comparisons in a claim are one family. It holds if all of them do, which needs no correction; it does not \
hold if one of them does not after Holm's correction over the family. There is none over the page.
- **Exact**: counts and identities, in which there is no chance.
"""


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
    records = {
        (name, place): full_record(name, folder / place) for name in EXPERIMENTS for place in places_of(name, folder)
    }
    others = (folder / OTHERS).read_text() if (folder / OTHERS).exists() else ""
    head = (
        "# Figures\n\n`minilora reproduce` writes this page. Each experiment is a small version of the paper's: "
        "another model, another task, the same question. Where seeds are compared, ± is the standard deviation over "
        "them."
    )
    sections = [section(name, folder, place) for name, place in records]
    parts = [head, contents(records, others), verdicts(records), *sections, others.rstrip()]
    write_atomically(folder / "README.md", "\n\n".join(parts).rstrip() + "\n")


def contents(records, others):
    """A link to each section, with the verdicts on its claims."""
    lines = ["- [Verdicts](#verdicts)"]
    for (name, _), record in records.items():
        heading = title(EXPERIMENTS[name], record)
        given = Counter(verdict(claim, record["results"]) for claim in EXPERIMENTS[name].claims)
        said = ", ".join(f"{each}: {given[each]}" for each in VERDICTS if given[each])
        lines.append(f"- [{heading}](#{anchor(heading)}) ({said})")
    if others:
        lines.append("- [The others](#the-others)")
    return "\n".join(lines)


def anchor(heading):
    """What GitHub makes of a heading, to link to: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def verdicts(records):
    """What a verdict is, and how many claims have which, on each base."""
    rows = [("base", "claims", *VERDICTS, "of these not run")]
    names = {place: record["base"]["name"] for (_, place), record in records.items() if place}
    for place in ("", *sorted(names)):
        judged = [
            (claim, records[name, place]["results"] if (name, place) in records else None)
            for name, experiment in EXPERIMENTS.items()
            if not place or experiment.on
            for claim in experiment.claims
        ]
        base = names.get(place, "the bundled models")
        rows += [(base, whose, *(f"{n}" for n in of.values())) for whose, of in count(judged).items()]
    table = [f"| {' | '.join(row)} |" for row in rows]
    table.insert(1, "|---" * len(rows[0]) + "|")
    return "\n\n".join(["## Verdicts", DEFINITION.rstrip(), "\n".join(table)])


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
    experiment, record = EXPERIMENTS[name], full_record(name, folder / place)
    version = "" if record["minilora"] == minilora.__version__ else f" by minilora {record['minilora']}"
    made = f"Made{version} with `{record['command']}`, Python {record['python']}, NumPy {record['numpy']}, "
    return "\n\n".join(
        [
            f"## {title(experiment, record)}",
            about(experiment, record),
            *earlier(record),
            f"![{experiment.title}]({place}{name}.png)",
            "```text\n" + "\n".join(experiment.table(record["results"])) + "\n```",
            claim_lines(experiment, record),
            made
            + f"{record['processor']}, {record['date']}; numbers in [{place}{name}.json]({place}{name}.json)."
            + cost(record),
        ]
    )


def cost(record):
    """How many runs are behind a result, and how long they took, as a sentence; nothing if that is not known."""
    runs = record.get("runs") or {"count": 0, "hours": None}
    if not runs["count"] or runs["hours"] is None:
        return ""
    return f" {runs['count']} runs, {runs['hours']:.1f} hours of one core, with those that others share."


def earlier(record):
    """A paragraph each for results of a bundled model, or of a task, that has been replaced; none for the others."""
    paragraphs = []
    if of_an_earlier_one(record):
        model = bundled_model(record)
        made = bundled_recipe(model)["date"]
        paragraphs.append(
            f"**These results are of an earlier bundled {model}.** They are of {record['date']}; the {model} that "
            f"comes with minilora now is of {made}, and they have not been made again on it."
        )
    names = [task for task in terms_of(record).get("tasks") or () if task.startswith("unicode-names")]
    if names and record["date"] < LOWER_CASE_SINCE:
        paragraphs.append(
            f"**These results are of an earlier form of {' and '.join(names)}.** They are of {record['date']}, when "
            "its names were in capitals; now they are in lower case, and the results have not been made again."
        )
    return paragraphs


def full_record(name, folder):
    """What `reproduce` wrote to a folder; ValueError if that was a quick run."""
    record = read_record(folder / f"{name}.json", name)
    if record["quick"]:
        raise ValueError(f"{folder / name}.json is of a quick run; its numbers mean nothing, and must not stand here")
    return record


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
