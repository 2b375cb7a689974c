"""docs/checker.svg: an exercise with a mistake, and what the checker says of it; ``make pages`` draws it.

    python docs/checker_picture.py

The answer has a mistake that people make; the report is the checker's own.
"""

import re
from html import escape
from pathlib import Path

from minilora.exercises.checking import check_answer
from minilora.exercises.sources import find, student_file

PATH = Path(__file__).resolve().with_name("checker.svg")
EXERCISE = "lora_linear_backward"
HELPER = """def rows(array):
    return array.reshape(-1, array.shape[-1])


"""
LINES = """    dh = scale * (dy @ B)
    dA = rows(dh).T @ rows(x)
    dB = rows(dy).T @ rows(h)
    dx = dy @ W + dh @ A
    return dx, dA, dB
"""
WRONG = "dB = rows(dy).T @ rows(h)"  # scale is forgotten

# Colours on a dark screen: the text, what is said aside, and what is right, wrong and named
SCREEN, BAR, TEXT, ASIDE, GOOD, BAD, NAMED = (
    "#1b1f27", "#2a303b", "#e6e6e6", "#98a2b3", "#7fd6a4", "#ff9580", "#ffd479",
)  # fmt: skip
WIDTH, LINE, CHARACTER, MARGIN = 690, 21, 8.45, 22  # in pixels; the letters have 14
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"


def wrong_answer():
    """What the checker is given: the student's file, in which the answer is written."""
    given, left, _ = student_file(find(EXERCISE)).partition("    raise NotImplementedError")
    if not left:
        raise ValueError(f"the file of {EXERCISE} must have a place for the answer")
    return given.replace("def lora_linear_backward", HELPER + "def lora_linear_backward") + LINES


def colour(line):
    """The colour of a line of the report."""
    if re.search(r": (right|passed)\b", line):
        return GOOD
    if re.search(r": (wrong|not yet)\b", line):
        return BAD
    return NAMED if " equals " in line else ASIDE if line.startswith("      ") else TEXT


def screen(title, lines, top):
    """One window with a title and lines of (text, colour): its SVG elements, and where it ends."""
    height = LINE * len(lines) + 2 * MARGIN + 20
    parts = [
        f'<rect x="1" y="{top}" width="{WIDTH - 2}" height="{height}" rx="9" fill="{SCREEN}"/>',
        f'<path d="M1 {top + 30} v-21 a9 9 0 0 1 9 -9 h{WIDTH - 20} a9 9 0 0 1 9 9 v21 z" fill="{BAR}"/>',
        f'<text x="{MARGIN}" y="{top + 20}" fill="{ASIDE}">{escape(title)}</text>',
    ]
    for i, (line, fill) in enumerate(lines):
        y = top + 30 + MARGIN + LINE * i
        parts.append(f'<text x="{MARGIN}" y="{y}" fill="{fill}">{escape(line)}</text>')
    return parts, top + height


def svg():
    """The picture, as a text."""
    exercise, answer = find(EXERCISE), wrong_answer()
    report = check_answer(EXERCISE, answer).report.split("\n")
    code = [(line, BAD if line.strip() == WRONG else TEXT) for line in LINES.rstrip().split("\n")]
    asked = [(f"$ minilora exercises check {exercise.number}", TEXT)]
    above, end = screen(f"exercises/{exercise.file_name}", code, 1)
    below, end = screen("terminal", asked + [(line, colour(line)) for line in report], end + 12)
    widest = max(len(line) for line in (*report, *(line for line, _ in code)))
    if widest * CHARACTER > WIDTH - 2 * MARGIN:
        raise ValueError(f"a line of {widest} characters does not fit the picture")
    style = f"text {{ font: 14px {FONT}; white-space: pre; }}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{end + 1}" viewBox="0 0 {WIDTH} {end + 1}">'
    )
    return "\n".join([head, f"<style>{style}</style>", *above, *below, "</svg>"]) + "\n"


def alt():
    """What the picture shows, for who cannot see it."""
    report = check_answer(EXERCISE, wrong_answer()).report
    named = re.search(r"\S.* equals .*", report)
    return f"An answer with {WRONG}, and the checker's report: {named[0]} It gives the values, expected and own."


if __name__ == "__main__":
    PATH.write_text(svg(), encoding="utf-8")
