"""Sliders for notebooks, where there are any to be had."""

import sys


def sliders(draw, **ranges):
    """Show ``draw(...)`` below a slider for each of its arguments; redraw when one moves.

    Outside of a notebook, and without ipywidgets, nothing is shown: put a static figure beside it.

    Parameters
    ----------
    draw : callable
        Takes the sliders' values by name; returns a Figure.
    **ranges
        What `ipywidgets.interact` takes for each argument, such as (1, 8) for an integer from 1 to 8.
    """
    if "ipykernel" not in sys.modules:
        return
    try:
        from ipywidgets import interact
    except ImportError:
        return
    interact(draw, **ranges)
