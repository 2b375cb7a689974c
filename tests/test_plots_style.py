"""One visual language: each method has its colour and mark, and a page may be dark."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from minilora import plots
from minilora.experiments.paper import figure2, table2, table3, table4
from minilora.methods import METHODS
from minilora.plots import labels, style
from minilora.plots.theme import DARK, LIGHT, theme

PAGES = pytest.mark.parametrize("page", [LIGHT, DARK], ids=["light", "dark"])
# How people see who lack the cones for red, or for green (Machado et al., 2009, of full severity; on linear colours).
NO_RED = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
NO_GREEN = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_look(name):
    assert style.method_of(name) == name


def test_no_two_methods_have_the_same_mark():
    marks = [(look.marker, look.fill) for look in style.METHODS.values()]
    assert len(set(marks)) == len(marks), "so that they differ in greyscale"
    assert sum(look.hue == style.METHODS["lora"].hue for look in style.METHODS.values()) == 1


def test_the_labels_of_all_figures_are_known():
    found = {*figure2.METHODS, *table2.TRIALS, *table3.METHODS, *table4.SCORES}
    assert {label for label in found if style.method_of(label) is None} == set()


def test_a_method_looks_the_same_in_every_company():
    alone = plots.looks(["LoRA"])["LoRA"]
    among = plots.looks(["full fine-tuning", "W_q", "BitFit", "LoRA, r = 8", "LoRA, r = 64"])
    assert among["LoRA, r = 8"] == alone == style.METHODS["lora"]
    other = among["LoRA, r = 64"]
    assert other.hue == alone.hue and other.marker == alone.marker and other.fill != alone.fill
    assert len({look.marker for look in plots.looks(["LoRA", "full", "W_q", "W_v"]).values()}) == 4
    assert len(plots.looks([*style.METHODS, "W_q"])) == len(style.METHODS) + 1, "no mark is free, and yet it is drawn"
    hues = {look.hue for look in style.METHODS.values() if look.hue != "black"}
    assert not hues & {style.series(n).hue for n in range(9)}, "what is no method is not taken for one"


def seen(color, cones=None):
    """A colour in CIE Lab, as it is seen with these cones."""
    linear = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)])
    linear = np.clip(linear if cones is None else np.array(cones) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ linear / (0.9505, 1.0, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@PAGES
@pytest.mark.parametrize("cones", [None, NO_RED, NO_GREEN], ids=["all", "no red", "no green"])
def test_families_of_methods_are_told_apart_by_the_colour_blind(page, cones):
    families = dict.fromkeys(look.hue for look in style.METHODS.values())
    for one, other in combinations(families, 2):
        apart = np.linalg.norm(seen(page.hues[one], cones) - seen(page.hues[other], cones))
        assert apart > 14, (one, other)


def test_red_and_green_alone_would_be_taken_for_one_another():
    """What the test above is worth: it refuses colours that are often used."""
    assert np.linalg.norm(seen("#B05A2C", NO_GREEN) - seen("#777A2B", NO_GREEN)) < 14


@PAGES
def test_letters_can_be_read_on_the_page(page):
    with plots.figure_style(dark=page is DARK):
        for color in (page.ink, page.soft, *page.hues.values()):
            assert labels.contrast(to_rgb(labels.legible(color)), to_rgb(page.paper)) >= 4.5


def test_a_dark_page_is_dark_inside_the_with_only():
    with plots.figure_style(dark=True):
        dark = plots.bars({"LoRA": 1.0}, x="x")
        assert theme() is DARK
        with plots.figure_style():
            assert theme() is LIGHT
    light = plots.bars({"LoRA": 1.0}, x="x")
    assert to_hex(dark.get_facecolor()) == to_hex(dark.axes[0].get_facecolor()) == DARK.paper.lower()
    assert to_hex(dark.axes[0].xaxis.label.get_color()) == DARK.ink.lower()
    assert to_hex(light.get_facecolor()) == "#ffffff"
    with pytest.raises(RuntimeError), plots.figure_style(dark=True):
        raise RuntimeError
    assert theme() is LIGHT


def test_raw_letters_are_typeset():
    assert plots.typeset("LoRA, W_q and W_v") == "LoRA, $W_q$ and $W_v$"
    assert plots.typeset("Adapter^H, r = 8") == r"Adapter$^\mathrm{H}$, $r = 8$"
    assert plots.typeset(r"$\Delta W_q$, rank 8") == r"$\Delta W_q$, rank 8"


def test_labels_are_moved_apart_no_further_than_needed():
    assert labels.spread([0.0, 0.5, 1.0], [0.1, 0.1, 0.1]) == pytest.approx([0.0, 0.5, 1.0])
    assert labels.spread([0.4, 0.4, 0.9], [0.2, 0.2, 0.2]) == pytest.approx([0.3, 0.5, 0.9])
    places = labels.spread([0.1, 0.12, 0.13, 0.2], [0.1, 0.2, 0.1, 0.1])
    assert np.diff(places).tolist() == pytest.approx([0.15, 0.15, 0.1])


def test_mathematics_is_never_broken():
    text = labels.wrapped("of $a + b + c$ and of $d + e$", 8)
    assert text.split("\n") == ["of", "$a + b + c$", "and of", "$d + e$"]


def test_a_caption_is_above_and_below():
    figure = plots.caption(plots.bars({"LoRA": 1.0}, x="x"), title="Adapter^H", note="Three seeds.")
    assert figure.get_suptitle() == r"Adapter$^\mathrm{H}$" and figure.get_supxlabel() == "Three seeds."
    height = figure.get_figheight()
    assert plots.caption(figure, note="A model.").get_supxlabel() == "A model. Three seeds."
    assert figure.get_figheight() == height
    plots.caption(figure, note=30 * "many words ")
    assert figure.get_figheight() > height + 0.5, "room for more lines"
