"""The page: whole, self-contained, harmless whatever the names in a file are, and bounded whatever its size is."""

import math
import re

import numpy as np
import pytest

from course_site import browser
from experiments.report.html_page import Page
from experiments.tiny import LORA, adapted
from minilora.analysis import Factors, adapter_factors
from minilora.experiments.report.html import heat_table, number
from minilora.experiments.report.page import page
from minilora.experiments.report.report import make_report
from minilora.methods import LoRAConfig

TOLD = {
    "holds": "adapter", "method": "lora", "format": "PEFT", "bytes": 1234, "dtypes": {"F32": 4}, "trained": 300,
    "settings": {"rank": 2, "alpha": 4}, "base": "a base",
}  # fmt: skip
PAPERS = {"https://arxiv.org/abs/2106.09685", "https://arxiv.org/abs/2410.21228"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><b>",
    "' onmouseover='x",
    "&lt;\x1b[2J\n",
)


def factors(seed=0, O=9, r=3, I=14):
    draw = np.random.default_rng(seed)
    return Factors(draw.standard_normal((O, r)), draw.standard_normal((r, I)), 0.5)


def whole_report(told=TOLD):
    """A report with all its parts."""
    config = LoRAConfig(rank=2, targets=("q_proj", "k_proj", "fc_in"))
    model = adapted(config)
    mine = adapter_factors(model)
    others = {name: f._replace(A=f.A + 0.5 * factors(1, 2, 2, f.A.shape[1]).A) for name, f in mine.items()}
    return make_report("runs/mine", told, mine, other="runs/other", others=others, model="decoder", adapted=model)


def test_the_page_is_whole_and_needs_nothing_else():
    html = page(whole_report())
    parsed = Page(html)
    assert [a["id"] for a in parsed.all("section")] == "sizes spectra factors other weights intruders".split()
    anchors = {a["href"] for a in parsed.all("a")}
    assert {a for a in anchors if not a.startswith("#")} == PAPERS
    assert {a[1:] for a in anchors if a.startswith("#")} == {a["id"] for a in parsed.all("section")}
    assert set(re.findall(r"https?://[^\s\"'<>]+", html)) == PAPERS
    assert not [tag for tag, _ in parsed.tags if tag in ("script", "link", "iframe", "img", "object", "form")]
    assert not [a for _, a in parsed.tags if {"src", "srcset", "data"} & a.keys()] and "url(" not in html
    policy = next(a["content"] for a in parsed.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'") and "prefers-color-scheme: dark" in html


def test_every_picture_has_a_text_and_every_part_its_chance():
    parsed = Page(page(whole_report()))
    pictures = parsed.all("svg")
    assert len(pictures) == 3 + 4 + 1, "spectra of three kinds, phi of three matrices and of chance, cosines"
    for picture in pictures:
        assert picture["role"] == "img" and len(picture["aria-label"]) > 20
    assert len({picture["aria-label"] for picture in pictures}) == len(pictures)
    assert sum(a.get("class") == "random" for a in parsed.all("p")) == len(parsed.all("section"))
    assert {"By chance. ", "By chance."} & set(parsed.words)


def test_the_page_shows_the_numbers():
    report = whole_report()
    text = Page(page(report)).text
    for own in report.own.values():
        assert number(own.norm) in text and f"{own.effective_rank:.1f}" in text and number(own.alignment) in text
    for pair in report.pairs.values():
        assert f"{pair.input.phi:.3f}" in text and number(pair.input.z) in text and f"{pair.cosine:.3f}" in text
    for found in report.against.values():
        assert number(found.amplification.factor) in text and f"{found.cosines.min():.3f}" in text
    total = sum(found.intruders for found in report.against.values())
    assert f"Here {total} of {10 * len(report.against)} directions are intruders" in text


def test_an_adapter_alone_suffices():
    parsed = Page(page(make_report("a", TOLD, {"q": factors()})))
    assert [a["id"] for a in parsed.all("section")] == ["sizes", "spectra", "factors"]


def test_an_adapter_that_has_learned_nothing_says_so():
    zero = {"q": factors()._replace(B=np.zeros((9, 3)))}
    said = Page(page(make_report("a", TOLD, zero, other="b", others={"q": factors()}))).text
    assert "Every ΔW is zero" in said and "there are no directions to compare" in said


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_becomes_markup(name):
    model = adapted(LORA)
    told = TOLD | {"base": name, "method": name, "settings": {name: name}, "trained_on": {name: name}, "command": name}
    names = [name, f"layers.0.{name}", f"{name}.1.q"]
    mine = {key: factors(seed) for seed, key in enumerate(names)}
    report = make_report(name, told, mine, other=name, others=mine, model=name, adapted=model)
    found = dict(zip(names, report.against.values()))
    html = page(report._replace(against=found))
    plain = page(whole_report(TOLD))
    tags = {tag for tag, _ in Page(html).tags}
    assert tags <= {tag for tag, _ in Page(plain).tags}
    assert {key for _, a in Page(html).tags for key in a} <= {key for _, a in Page(plain).tags for key in a}
    assert all(c.isprintable() or c == "\n" for c in html)
    assert "&amp;amp;" not in html and "&amp;lt;script" not in html, "escaped once"


def test_hundreds_of_matrices_make_no_endless_page():
    one = factors(O=2, r=1, I=2)
    mine = {f"layers.{i}.q": one for i in range(500)}
    mine |= {f"layers.0.kind{i}": one for i in range(60)} | {f"head{i}": one for i in range(220)}
    html = page(make_report("a", TOLD, mine, other="b", others=mine))
    assert len(html) < 1_000_000 and Page(html)
    text = Page(html).text
    for said in (
        "128 of 500 blocks",
        "20 of 61 kinds",
        "200 of 220 such matrices",
        "200 of 780 matrices",
    ):
        assert said in text, said


def test_a_huge_rank_makes_no_endless_page():
    wide = factors(O=300, r=250, I=300)
    html = page(make_report("a", TOLD, {"layers.0.q": wide}, other="b", others={"layers.0.q": wide}))
    assert len(html) < 200_000 and Page(html)


def test_a_cell_is_as_strong_as_its_value():
    table = heat_table("t", {"l.0.q": 1.0, "l.1.q": 4.0, "l.0.v": 2.0, "head": math.nan})
    cells = [(a.get("style"), word) for a, word in zip(Page(table).all("td"), re.findall(r"<td[^>]*>([^<]*)", table))]
    assert cells == [("--h:0.25", "1"), ("--h:0.50", "2"), ("--h:1.00", "4"), (None, ""), ("--h:0.00", "–")]


@pytest.mark.skipif(browser.CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [375, 1280])
def test_in_a_browser_the_page_fits_its_screen_and_asks_for_nothing(width, tmp_path):
    (tmp_path / "profile").mkdir()
    html = page(whole_report())
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', html)[0]
    (tmp_path / "open.html").write_text(html.replace("<details>", "<details open>"), encoding="utf-8")
    assert policy in html
    (report,), missing, console = browser.visit(tmp_path, ["open.html"], tmp_path / "profile", width, timeout=120)
    assert (report["scrolls"], report["wide"], report["broken"], report["elsewhere"]) == (0, [], [], [])
    assert (missing, console) == ([], [])
