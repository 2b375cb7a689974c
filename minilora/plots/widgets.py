"""Sliders for notebooks, where they are available."""

import io
import sys
from inspect import signature


def sliders(draw, **ranges):
    """Show ``draw(...)`` below a slider for each of its arguments; redraw when one moves.

    Outside a notebook, or without ipywidgets, nothing is shown: put a static figure next to it.

    Parameters
    ----------
    draw : callable
        Takes the sliders' values by name; returns a Figure. A slider starts at its argument's default, or else in the
        middle.
    **ranges
        What `ipywidgets.interact` takes for each argument, such as (1, 8) for an integer from 1 to 8.
    """
    if "ipykernel" not in sys.modules:
        return
    try:
        from ipywidgets import Image, VBox, interactive
    except ImportError:
        return
    from IPython.display import display

    # The picture is an Image. `interact` would draw into an Output, to which a notebook's runner without a browser
    # (nbclient) writes back while the cell runs; that can make it miss the end of the cell, and wait forever.
    picture = Image(format="png", layout={"max_width": "100%", "align_self": "flex-start"})
    arguments = signature(draw).parameters
    controls = {name: interactive.widget_from_abbrev(ends, arguments[name].default) for name, ends in ranges.items()}
    wide = {"width": "100%", "max_width": "640px"}  # of which every pixel can be a value

    def redraw(_=None):
        png = io.BytesIO()
        draw(**{name: control.value for name, control in controls.items()}).savefig(png, format="png")
        picture.value = png.getvalue()

    for name, control in controls.items():
        control.description = name
        control.layout = wide
        control.observe(redraw, names="value")
    redraw()
    display(VBox([*controls.values(), picture]))
