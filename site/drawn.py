"""What a notebook's kernel does while the site is built: each picture is drawn for a white and for a dark page.

`make_site.py` puts a hidden cell before each notebook that calls `begin`. From then on a figure is shown as two files,
of which a page shows one, with a text that says what is to be seen; and a slider as a picture for each position.
"""

import copy
import functools
import html
import inspect
import itertools
import json
import re
import sys
from pathlib import Path

from png import write_png

PICTURES = 48  # of one group of sliders, at most
BYTES = 3_000_000  # of one group of sliders: large pictures have fewer positions
PIXELS = 84  # of an inch, on the page


def begin(folder, url, starts=()):
    """Show figures and sliders by files, in the kernel that runs.

    Parameters
    ----------
    folder : str
        Where the pictures are written.
    url : str
        What the page calls this folder.
    starts : sequence of dict
        Where the sliders of each call stand at first, by argument.
    """
    from IPython import get_ipython
    from matplotlib.figure import Figure

    from minilora import plots

    pictures = Pictures(Path(folder), url, starts)
    for name in plots.__all__:
        if inspect.isfunction(getattr(plots, name)):
            setattr(plots, name, with_twin(getattr(plots, name)))
    plots.sliders = pictures.sliders
    shell = get_ipython()
    gui, backend = shell.enable_matplotlib("inline")
    shell.enable_matplotlib = lambda *_: (gui, backend)  # again, it would forget the next line
    shell.display_formatter.formatters["text/html"].for_type(Figure, pictures.shown)


def with_twin(draw):
    """A drawing function whose figures know how they are drawn for a dark page."""
    from matplotlib.figure import Figure

    from minilora.plots import figure_style

    @functools.wraps(draw)
    def wrapper(*arguments, **options):
        again = [unchanged(argument) for argument in arguments]
        made = draw(*arguments, **options)

        def twin():
            with figure_style(dark=True):
                return draw(*(a.twin() if isinstance(a, Figure) else a for a in again), **options)

        if isinstance(made, Figure):
            made.twin = twin
        return made

    return wrapper


def unchanged(argument):
    """An argument as it is now, if drawing would use it up."""
    return copy.deepcopy(argument) if "Generator" in type(argument).__name__ else argument


class Pictures:
    """The pictures of one notebook, numbered as they come."""

    def __init__(self, folder, url, starts):
        self.folder, self.url, self.starts = folder, url, iter(starts)
        self.number = itertools.count(1)
        folder.mkdir(parents=True, exist_ok=True)

    def shown(self, figure):
        """A figure as HTML."""
        return both(self.url, *self.save(figure, f"{next(self.number):02}"))

    def save(self, figure, name):
        """Write a figure, and its twin; returns its name, text and width, and whether there is a twin."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(figure, self.folder / f"{name}.png")
        twin = getattr(figure, "twin", None)
        if twin:
            write_png(twin(), self.folder / f"{name}-dark.png")
        return name, described(figure), round(PIXELS * figure.get_figwidth()), twin is not None

    def sliders(self, draw, **ranges):
        """All positions of some sliders, in the place of `minilora.plots.sliders`."""
        from IPython.display import HTML, display

        start = first_position(draw, ranges, next(self.starts, {}))
        name, at, shown, texts = f"{next(self.number):02}", {}, "", {}
        first = self.save(draw(**start), f"{name}/first")
        files = sorted((self.folder / name).glob("first*.png"))
        pictures = min(PICTURES, BYTES // sum(file.stat().st_size for file in files))
        most = max(3, int(pictures ** (1 / len(ranges))))  # at least the two ends, and where it starts
        counts = {key: len(positions(ends, start[key], 10**6)) for key, ends in ranges.items()}
        fewest = min(counts.values())
        if len(ranges) == 2 and fewest < most:  # where one has few positions, the other may have more
            most = pictures // fewest
        values = {key: positions(ends, start[key], most) for key, ends in ranges.items()}
        for indices in itertools.product(*(range(len(each)) for each in values.values())):
            chosen = {key: values[key][i] for key, i in zip(values, indices, strict=True)}
            place = "-".join(map(str, indices))
            if chosen == start:
                for file in files:
                    file.rename(file.with_name(file.name.replace("first", place)))
                saved = f"{name}/{place}", *first[1:]
                at, shown = dict(zip(values, indices, strict=True)), both(self.url, *saved)
            else:
                saved = self.save(draw(**chosen), f"{name}/{place}")
            texts[place] = saved[1]
        controls = "".join(slider(key, each, at[key]) for key, each in values.items())
        about = f'data-folder="{html.escape(f"{self.url}/{name}")}" data-texts="{html.escape(json.dumps(texts))}"'
        display(HTML(f'<div class="positions" {about}>{controls}{shown}</div>'))


def slider(name, values, index):
    """One slider, which knows its values; without JavaScript it is hidden."""
    said = html.escape(json.dumps(values))
    return (
        f'<label hidden>{html.escape(name)} <input type="range" min="0" max="{len(values) - 1}" value="{index}" '
        f'data-values="{said}"> <output>{values[index]}</output></label>'
    )


def both(url, name, text, width, twin):
    """A picture for a white page, and its twin for a dark one."""
    about = f'alt="{html.escape(text)}" width="{width}"'
    if not twin:
        return f'<img class="without-twin" src="{url}/{name}.png" {about}>'
    pages = ("light", ""), ("dark", "-dark")
    return "".join(f'<img class="only-{page}" src="{url}/{name}{end}.png" {about}>' for page, end in pages)


def first_position(draw, ranges, start):
    """Where sliders stand at first: as told, else at the function's defaults, else in the middle."""
    parameters = inspect.signature(draw).parameters
    found = {}
    for name, ends in ranges.items():
        default = parameters[name].default if name in parameters else inspect.Parameter.empty
        every = positions(ends, None, 10**6)
        found[name] = start.get(name, every[len(every) // 2] if default is inspect.Parameter.empty else default)
    return found


def positions(ends, start, most):
    """The values of a slider: all, or as many as there may be, closer together where they are small.

    Parameters
    ----------
    ends : tuple
        The least, the largest, and the step, which is 1 if it is not given.
    start : number or None
        A value that has to be among them.
    most : int

    Returns
    -------
    list
    """
    low, high, step = (*ends, 1)[:3]
    n = round((high - low) / step) + 1
    every = [round(low + step * i, 9) for i in range(n)]
    if n > most:
        growing = low > 0 and high / low >= 16
        parts = [i / (most - 1) for i in range(most)]
        wanted = [low * (high / low) ** part if growing else low + (high - low) * part for part in parts]
        every = sorted({min(every, key=lambda value: abs(value - each)) for each in wanted})
    if start is not None and start not in every:
        every[min(range(len(every)), key=lambda i: abs(every[i] - start))] = start
    return every


def described(figure):
    """What a figure shows, for who cannot see it: titles, axes, and of each curve and bar its name and values."""
    parts = [plain(figure.get_suptitle())] if figure.get_suptitle() else []
    for axes in figure.axes:
        if axes.get_label() == "<colorbar>" or not axes.get_visible():
            continue
        said = [plain(axes.get_title(loc)) for loc in ("left", "center", "right") if axes.get_title(loc)]
        x, y = plain(axes.get_xlabel()), plain(axes.get_ylabel())
        if x and not y and len(said) == 1:  # the title says what is drawn upwards
            said, y = [], said[0]
        said += [f"{y} against {x}" if x and y else x or y] if x or y else []
        said += [image(each) for each in axes.get_images()]
        curves = [curve(line) for line in axes.get_lines() if len(line.get_xdata()) > 1]
        said += [each for each in curves if each][:8]
        said += bars(axes)
        if not said:
            said = [" ".join(filter(None, (plain(text.get_text()) for text in axes.texts)))[:200]]
        parts.append(": ".join(filter(None, ["; ".join(filter(None, said))])))
    text = ". ".join(part for part in parts if part)
    return " ".join(text.split())[:600] or "a drawing"


def curve(line):
    """A curve in words: its name, and from where to where it goes."""
    import numpy

    name = plain(str(line.get_label()))
    values = numpy.ma.masked_invalid(numpy.asarray(line.get_ydata(), dtype=float)).compressed()
    if name.startswith("_") or not len(values):
        return ""
    first, last = values[0], values[-1]
    way = "falls" if last < first else "rises" if last > first else "stays"
    return f"{name or 'the curve'} {way} from {first:.3g} to {last:.3g}" if way != "stays" else f"{name} at {first:.3g}"


def bars(axes):
    """The bars of a plot in words, with the names of their ticks where each has one."""
    found = []
    for container in axes.containers:
        patches = [patch for patch in container if hasattr(patch, "get_width")]
        if not patches:
            continue
        lying = len({round(patch.get_height(), 6) for patch in patches}) == 1
        sizes = [patch.get_width() if lying else patch.get_height() for patch in patches]
        ticks = axes.get_yticklabels() if lying else axes.get_xticklabels()
        names = [plain(tick.get_text()) for tick in ticks]
        label = plain(str(container.get_label())) if not str(container.get_label()).startswith("_") else ""
        if len(names) == len(sizes):
            found.append(", ".join(f"{name} {size:.3g}" for name, size in zip(names, sizes, strict=True)))
        else:
            found.append(f"{label or 'bars'} from {min(sizes):.3g} to {max(sizes):.3g}")
    return found[:6]


def image(picture):
    """A matrix in words."""
    shape = picture.get_array().shape
    return f"a matrix of {shape[0]} x {shape[1]} in colours"


SIGNS = {"\\top": "^T", "\\Delta": "Delta ", "\\varphi": "phi", "\\cdot": "*", "\\|": "||", "\\alpha": "alpha"}


def plain(text):
    """A label without the signs of TeX."""
    for sign, said in SIGNS.items():
        text = text.replace(sign, said)
    text = re.sub(r"\\(?:mathrm|mathbf|text|operatorname|frac)\b", "", text)
    return " ".join(re.sub(r"[${}]|\\[,;!]|\\", "", text).split())


if __name__ == "__main__":
    sys.exit("make_site.py puts this into the kernels of notebooks")
