"""Formulas of docstrings, which are written in plain letters, as TeX: "dq = dscores k / sqrt(K)" is typeset."""

import re

GREEK = {"alpha", "beta", "theta", "delta", "epsilon", "phi", "Phi", "pi", "Lambda", "Delta", "eps"}
FUNCTIONS = {"softmax", "exp", "log", "tanh", "erf", "silu", "sign", "ceil", "mean", "bucket", "E", "Q"}
NAMES = (
    r"(?:dbias|bias|scale|dprobs|probs|dscores|scores|logits|dlogits|loss|norm|dnorm|gain|dgain|grad|data|lr|m_hat|v_hat|"
    r"dxhat|xhat|xc|var|weight|advantage|onehot|turns|low|high|factor|gate|dgate|up|dup|absmax2|absmax|level|target|"
    r"inv_std|k_rel|q_rel|dk_rel|dq_rel|mid|beta1|beta2|theta_D|theta_d|theta_0|theta_j|Lambda_b|Lambda_d)"
)
TOKEN = re.compile(
    r"(?P<code>\(?`[^`]+`\)?)|(?P<name>inv_std\b)|(?P<number>\d[\d,]*(?:\.\d+)?)|(?P<word>[A-Za-z]+\d*)|(?P<dots>\.\.\.)|(?P<two>\+-|\+=|<=|>=|\|\|)"
    r"|(?P<index>_(?:[A-Za-z0-9]+(?:<[a-z])?))|(?P<transposed>\^T\b)|(?P<power>\^(?:\d+|\())|(?P<prime>'+)"
    r"|(?P<space> +)|(?P<sign>[-+*/=()\[\],.:|<>])"
)
SIGNS = {
    "*": r"\odot ",
    "+-": r"\pm ",
    "<=": r"\le ",
    ">=": r"\ge ",
    "||": r"\Vert ",
    "+=": r"\mathrel{+}= ",
    "...": r"\ldots ",
}


CODE = re.compile(r"^\s*@|^\s*with |\w\.\w+\(|_(?:forward|backward|ops)\b|\bQ\d_\d")
OPERANDS = {"name", "word", "index", "transposed", "power", "prime", "number", ")"}


def typeset(lines):
    """A block of formulas as TeX, or None if it is something else, such as code or a table.

    Parameters
    ----------
    lines : list of str
        Without their common indent.

    Returns
    -------
    list of str or None
        Lines of an aligned display.
    """
    if any(CODE.search(line) for line in lines):
        return None
    made = []
    for line in lines:
        if not line.strip():
            continue
        cells = [cell for cell in re.split(r"(?:  |(?<=,) ) +", joined(line)) if cell]
        converted = [formula(cell.strip()) if is_formula(cell) else said(cell) for cell in cells]
        if None in converted:
            return None
        if "=" in converted[0] and not converted[0].startswith((r"\text", r"\Phi")):
            converted[0] = converted[0].replace("=", "&=", 1)
        made.append(r" \qquad ".join(converted))
    if not any("=" in line for line in made):
        return None
    return [r"\begin{aligned}", *(f"{line} \\\\" for line in made), r"\end{aligned}"]


def joined(line):
    """A line whose formula is not torn at the spaces that align its signs."""
    line = re.sub(r" {2,}([-+]) {2,}", r" \1 ", line.strip())
    return line if line.startswith("=") else re.sub(r"(?<=[^ (,]) +(=) +", r" \1 ", line)


def is_formula(cell):
    """Whether a cell is a formula, and not a remark in words."""
    words = [word for word in re.findall(r"(?<![_`\w])[A-Za-z]{2,}\b(?![_(])", cell) if not known(word)]
    return not words or "=" in cell.split(words[0])[0]


def known(word):
    """Whether a word is a symbol of a formula."""
    return (
        bool(re.fullmatch(NAMES, word))
        or word in GREEK | FUNCTIONS
        or bool(re.fullmatch(r"d[A-Za-z]\d?|sum|sqrt|cos|sin", word))
    )


def said(words):
    """A remark, as text inside a formula."""
    if re.search(r"[\\{}$#%&~]", words):
        return None
    parts = re.split(r"(`[^`]+`)", words.strip())
    text = "".join(part.strip("`") if i % 2 else part for i, part in enumerate(parts))
    return r"\text{" + text.replace("_", r"\_") + "}"


def formula(cell):
    """A formula as TeX; None if it has a sign that is not known."""
    out, i, after, closes = [], 0, "", []
    cell = re.sub(r"sqrt (\d+)", r"sqrt(\1)", cell)
    while i < len(cell):
        m = TOKEN.match(cell, i)
        if m is None:
            return None
        kind, text = m.lastgroup, m[0]
        i = m.end()
        if kind == "code":
            out.append(r"\quad\text{" + text.replace("`", "").replace("_", r"\_") + "}")
        elif kind == "name":
            out.append(named(text))
        elif kind == "word" and text == "sqrt" and cell[i : i + 1] == "(":
            out.append(r"\sqrt{")
            i += 1
            closes.append("}")
        elif kind == "word":
            out.append(symbol(text) if known(text) or len(re.sub(r"\d", "", text)) == 1 else words_of(text))
        elif kind == "index":
            index = text[1:]
            if out[-1].endswith("}") and "_{" in out[-1]:
                return None  # a name such as Q8_0
            if index == "hat":
                out[-1] = rf"\hat{{{out[-1]}}}"
                continue
            out.append("_{" + (index if len(index) <= 2 else named(index)) + "}")
        elif kind == "transposed":
            out.append(r"^\top ")
        elif kind == "power":
            if text.endswith("("):
                out.append("^{(")
                closes.append(")}")
            else:
                out.append("^{" + text[1:] + "}")
        elif text == "(":
            out.append("(")
            closes.append(")")
        elif text == ")":
            out.append(closes.pop() if closes else ")")
        elif text == "*" and (re.search(r"\d $", "".join(out)) or re.match(r" ?\d", cell[i:])):
            out.append(r"\cdot ")
        elif kind in ("two", "dots", "sign"):
            out.append(SIGNS.get(text, text))
        elif kind == "space":  # between two factors a thin one
            factors = after in OPERANDS and re.match(r"[A-Za-z(]", cell[i : i + 1])
            out.append(r"\, " if factors else " ")
        else:
            out.append(text)
        after = ")" if text == ")" else kind
    if closes:
        return None
    return "".join(out).strip()


def symbol(text):
    """A name as TeX."""
    if text == "sum":
        return r"\sum"
    if text in ("cos", "sin", "exp", "log", "tanh"):
        return "\\" + text + " "
    if text in GREEK:
        return "\\" + {"eps": "epsilon"}.get(text, text) + " "
    greek = re.fullmatch(r"([a-z]+)(\d)", text)
    if greek and greek[1] in GREEK:
        return f"\\{greek[1]}_{{{greek[2]}}}"
    if re.fullmatch(r"d?[A-Za-z]\d", text):
        return f"{text[:-1]}_{{{text[-1]}}}"
    if text in FUNCTIONS and len(text) > 1:
        return rf"\operatorname{{{text}}}"
    if re.fullmatch(r"d[A-Za-z]", text) or len(text) == 1:
        return text
    return named(text)


def named(text):
    """A name of several letters, upright."""
    return r"\mathrm{" + text.replace("_", r"\_").replace("<", r"{<}") + "}"


def words_of(text):
    """A word of a remark inside a formula."""
    return rf"\text{{ {text} }}"
