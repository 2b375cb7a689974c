"""The page of figures: each drawn for a white and for a dark page, a summary of the verdicts, tables that fit."""

import hashlib
import html
import json
import re
import shutil
from functools import partial
from pathlib import Path

import drawn
import pages
import png

import minilora
from minilora.experiments import demo_figures
from minilora.experiments.bench import figures as bench
from minilora.experiments.drawing import figure_of
from minilora.experiments.figures_page import EXPERIMENTS, anchor, full_record, places_of
from minilora.experiments.verdicts import VERDICTS
from minilora.museum import page as museum

DRAWN = Path(drawn.__file__), Path(png.__file__)
PICTURE = re.compile(r"^!\[.*?\]\((.+?)\)$", re.MULTILINE)
SECTION = re.compile(r"^## (?P<name>\w+?)(?P<on> on [\w.-]+)?: (?P<title>.+)$", re.MULTILINE)


def key_of(record):
    """The name of a figure's pictures, of what they are made of: numbers, and the code that draws."""
    code = sorted(
        [
            *DRAWN,
            *Path(minilora.__file__).parent.glob("plots/*.py"),
            *Path(minilora.__file__).parent.glob("experiments/**/*.py"),
            Path(museum.__file__),
        ]
    )
    parts = [json.dumps(record, sort_keys=True).encode(), *(path.read_bytes() for path in code)]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:20]


def stage(folder, static, cache):
    """Draw the figures again, from their numbers, and make the page from that of the repository.

    Parameters
    ----------
    folder : Path
        The copy of figures/, whose README.md is changed.
    static : Path
        The site's _static, which gets the pictures.
    cache : Path
        Where pictures are kept from one build to the next.
    """
    target = static / "drawn/figures"
    pictures = drawn.Pictures(target, "../_static/drawn/figures", ())
    shown = {}
    for file, record, make in drawings(folder):
        kept = cache / key_of({"file": file, "record": record})
        if not kept.is_dir():
            print(f"make site: figure {file}", flush=True)
            saved = drawn.Pictures(kept.with_suffix(".new"), "", ()).save(drawn.with_twin(make)(), "figure")
            (kept.with_suffix(".new") / "about.json").write_text(json.dumps(saved), encoding="utf-8")
            kept.with_suffix(".new").rename(kept)
        _, text, width, twin = json.loads((kept / "about.json").read_text(encoding="utf-8"))
        name = file.removesuffix(".png").replace("/", "-")
        for end in "", "-dark":
            shutil.copy(kept / f"figure{end}.png", target / f"{name}{end}.png")
        shown[file] = drawn.both(pictures.url, name, text, width, twin)
    page = folder / "README.md"
    page.write_text(made_of(page.read_text(encoding="utf-8"), shown, folder), encoding="utf-8")
    for page in sorted((folder.parent / "docs").glob("*.md")):
        page.write_text(with_twins(page.read_text(encoding="utf-8"), shown, "../figures/"), encoding="utf-8")


def drawings(folder):
    """Every figure that is drawn from numbers: its file, the numbers, and a function that draws it.

    Parameters
    ----------
    folder : Path
        The copy of figures/.

    Yields
    ------
    file : str
    record : dict
    draw : callable
    """
    for name in EXPERIMENTS:
        for place in places_of(name, folder):
            record = full_record(name, folder / place)
            yield f"{place}{name}.png", record, partial(figure_of, EXPERIMENTS[name], record)
    for path in sorted(folder.glob("bench/**/bench.json")):
        record, place = bench.read(path.parent), path.parent.relative_to(folder).as_posix()
        for name, draw in bench.figures_of(record).items():
            yield f"{place}/{name}", record, draw
    record = json.loads((folder / "bench/ladder.json").read_text(encoding="utf-8"))
    yield "bench/ladder.png", record, partial(bench.ladder, record)
    for path in sorted(folder.glob(f"*/{demo_figures.NUMBERS}")):
        results, record = demo_figures.read(path.parent)
        for name, draw in demo_figures.figures_of(results, record).items():
            yield f"{path.parent.name}/{name}", record, draw
    record = json.loads((folder / "museum/museum.json").read_text(encoding="utf-8"))
    for name, draw in museum.figures_of(record).items():
        yield f"museum/{name}", record, draw


def with_twins(page, shown, folder=""):
    """Markdown whose pictures of drawn figures follow the page, light or dark.

    Parameters
    ----------
    page : str
    shown : dict of str to str
        The HTML of each picture, by its file.
    folder : str
        What the page calls the folder of the files, with a slash at its end.
    """

    def picture(match):
        file = match[1].removeprefix(folder)
        return raw(shown[file]) if match[1].startswith(folder) and file in shown else match[0]

    return PICTURE.sub(picture, page)


def made_of(page, shown, folder):
    """The site's page, in Markdown.

    Parameters
    ----------
    page : str
        figures/README.md.
    shown : dict of str to str
        The HTML of each picture, by its file.
    folder : Path
        Where the files are that the page names.
    """
    page, _, others = page.partition("\n## The others\n")
    page = summarised(page)
    page = SECTION.sub(lambda m: f"## {heading(m)}", page)
    page = re.sub(r"^```text\n(.*?)\n```$", lambda m: raw(tables(m[1])), page, flags=re.MULTILINE | re.DOTALL)
    page = re.sub(r"\b(Adapter)\^([A-Z])\b", r"\1<sup>\2</sup>", page)
    if others:
        page = pages.gallery(f"{page}\n## The others\n{others}", folder)
    return with_twins(page, shown)


def heading(section):
    """The heading of a section: "Table 1" for "table1"."""
    number = re.fullmatch(r"(table|figure)(\d+)", section["name"])
    name = f"{number[1].capitalize()} {number[2]}" if number else section["name"].replace("_", " ").capitalize()
    title = section["title"]
    if name.lower() == title.split(":")[0].lower():
        name, title = title.split(":")[0], title.partition(":")[2].strip() or title
    return f"{name}{section['on'] or ''}: {title}"


def summarised(page):
    """The page whose list of contents, one line a section, is a table of how many claims have which verdict."""
    entry = re.compile(r"^- \[(.+?)\]\(#.+?\)(?: \((.*)\))?$", re.MULTILINE)
    rows = []
    for line in entry.finditer(page):
        section = SECTION.fullmatch(f"## {line[1]}")
        if section:
            said = heading(section)
            given = dict(part.split(": ") for part in (line[2] or "").split(", ") if part)
            counts = " | ".join(given.get(verdict, "") for verdict in VERDICTS)
            rows.append(f"| [{said}](#{anchor(said)}) | {counts} |")
    table = [f"| claims of | {' | '.join(VERDICTS)} |", "|---" + "|---:" * len(VERDICTS) + "|", *rows]
    start = entry.search(page).start()
    rest = entry.sub("", page[start:]).lstrip("\n")
    return page[:start] + "\n".join(["## Summary", "", *table, "", rest])


def tables(text):
    """Aligned text as HTML: tables whose cells may break, and what stands between them as it is."""
    parts = []
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if len(lines) > 2 and re.fullmatch(r"-+", lines[1]):
            parts.append(table(lines))
        else:
            parts.append(f"<p>{html.escape(' '.join(block.split()))}</p>")
    return "\n".join(parts)


def table(lines):
    """One aligned table as HTML; its second line is a rule, and two spaces part its columns."""
    rows = [lines[0], *lines[2:]]
    width = max(map(len, rows))
    rows = [row.ljust(width) for row in rows]
    blank = [all(row[i] == " " for row in rows) for i in range(width)]
    cuts = [m.span() for m in re.finditer(r"b{2,}", "".join("b" if each else "x" for each in blank))]
    edges = list(zip([0, *(end for _, end in cuts)], [*(start for start, _ in cuts), width], strict=True))
    cells = [[html.escape(row[start:end].strip()) for start, end in edges] for row in rows]
    head = "".join(f"<th>{cell}</th>" for cell in cells[0])
    body = "".join(
        f"<tr><th>{row[0]}</th>" + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in cells[1:]
    )
    return (
        f'<div class="table-wrapper numbers"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def raw(text):
    """HTML in Markdown."""
    return f"```{{raw}} html\n{text}\n```"
