"""Files that are whole, and mean harm: sizes, nesting, names and patterns that cost time or memory, or lead elsewhere.

`mutations.py` damages what is there; this knows what a field is for. Each function takes the bytes of a real file.
"""

import json

from fuzz.mutations import join_safetensors, mutate_json, split_safetensors

CONTROL = "\x1b]0;title\x07\x1b[2J\r\n\u202e"
PARTS = (".", ".?", "(|.)", "[a-z.]?", "(t|tr|.|..)", ".*", r"\w", "(.|..)*", "(?=.*.)", "(?!.*!)", r"(\w+)\1", "(?i)a")
PATTERN_FIELDS = ("target_modules", "exclude_modules", "layers_pattern")


def hostile_pattern(rng, depth=4):
    """A regular expression of repeats in repeats, of what fits everywhere in many ways."""
    parts = [str(rng.choice(PARTS))]
    for _ in range(int(rng.integers(0, 4))):
        parts.append(hostile_pattern(rng, depth - 1) if depth else parts[0])
    repeat = str(rng.choice(["", "?", "*", "+", "{30}", "{2,40}", "{1000}", "*?"]))
    return f"(?:{''.join(parts)}){repeat}"[:3000] * int(rng.choice([1, 1, 1, 2, 40] if depth else [1, 40]))


def hostile_value(rng):
    """A value of a JSON file that costs much, or is shown badly."""
    kinds = (
        lambda: CONTROL * int(rng.choice([1, 1000, 100_000])),
        lambda: "x" * int(rng.choice([300, 1_000_000, 3_500_000])),
        lambda: [[]] * int(rng.choice([1000, 200_000, 600_000])),
        lambda: {f"{CONTROL}{i}": i for i in range(int(rng.choice([10, 50_000])))},
        lambda: nested(int(rng.choice([10, 39, 60, 900]))),
        lambda: float(rng.choice([float("nan"), float("inf"), -float("inf"), 1e308, 5e-324])),
        lambda: int(rng.choice([2**31, 2**40, 2**62])) * (1 if rng.integers(0, 2) else -1),
        lambda: 10 ** int(rng.choice([20, 400, 4000])),
        lambda: rng.choice([True, False, None, 0, 1, "1", 1.0]),
        lambda: [str(rng.choice(["..", "../../etc/passwd", "/", "C:x", "q_proj", CONTROL, ""]))] * 3,
        lambda: hostile_pattern(rng),
        lambda: {hostile_pattern(rng, 1)[:200]: int(rng.integers(0, 9)) for _ in range(int(rng.choice([1, 30, 3000])))},
    )
    return plain(kinds[int(rng.integers(0, len(kinds)))]())


def plain(value):
    """A value of NumPy's as Python's, for JSON."""
    return value.item() if hasattr(value, "item") else value


def nested(depth):
    value = "deep"
    for i in range(depth):
        value = [value] if i % 2 else {CONTROL: value}
    return value


def hostile_json(content, rng):
    """The JSON object of a file with one to three fields changed, added, doubled or gone."""
    value = json.loads(content)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        holder = value
        while inner := [v for v in holder.values() if isinstance(v, dict) and v]:
            if rng.integers(0, 2):
                break
            holder = inner[int(rng.integers(0, len(inner)))]
        names = list(holder) or ["x"]
        name = names[int(rng.integers(0, len(names)))]
        kind = rng.integers(0, 5)
        if kind == 0:
            holder.pop(name, None)
        elif kind == 1:
            holder[str(rng.choice([CONTROL, "module." + name, name * 100, ""]))] = hostile_value(rng)
        else:
            holder[name] = hostile_value(rng)
    if "target_modules" in value and rng.integers(0, 2):
        value[str(rng.choice(PATTERN_FIELDS))] = hostile_pattern(rng)
    if "weight_map" in value and rng.integers(0, 2):
        value = hostile_index(value, rng)
    try:
        text = json.dumps(value)
    except (RecursionError, ValueError):
        text = json.dumps(mutate_json(json.loads(content), rng))
    if rng.integers(0, 5) == 0:  # a key twice, and what stands in it last counts
        text = text[:-1] + f", {json.dumps(next(iter(value), 'x'))}: {json.dumps(plain(rng.choice([0, None, 'x'])))}}}"
    return text.encode("utf-8", "surrogatepass")


def hostile_index(value, rng):
    """An index whose files are elsewhere, are the index itself, or are many."""
    places = value["weight_map"]
    if not isinstance(places, dict):
        return value
    elsewhere = (
        "../model.safetensors",
        "/dev/zero.safetensors",
        "model.safetensors.index.json",
        "C:\\x.safetensors",
        ".safetensors",
        "a\0.safetensors",
        CONTROL + ".safetensors",
        "model-00001-of-00002.safetensors",
        "x" * 5000 + ".safetensors",
    )
    kind = rng.integers(0, 3)
    if kind == 0:
        return value | {"weight_map": dict.fromkeys(places, str(rng.choice(elsewhere)))}
    if kind == 1:
        return value | {"weight_map": places | {f"t{i}": f"{i}.safetensors" for i in range(20_000)}}
    return value | {"weight_map": {name: str(rng.choice(elsewhere)) for name in places}}


def hostile_safetensors(content, rng):
    """A header with tensors that overlap, are many, large, odd or oddly named; or a description that is hostile."""
    header, data = split_safetensors(content)
    names = [name for name in header if name != "__metadata__"]
    name = names[int(rng.integers(0, len(names)))]
    tensor, kind = header[name], rng.integers(0, 9)
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    if kind == 0:
        start, stop = tensor["data_offsets"]
        shift = int(rng.choice([-4, 4, 2**40, -(2**40)]))
        tensor["data_offsets"] = [start + shift, stop + shift] if rng.integers(0, 2) else [stop, start]
    elif kind == 1:
        tensor["shape"] = plain_list(rng.choice([0, 1, -1, 2**31, 2**62, 2**63], int(rng.integers(0, 70))))
    elif kind == 2:
        header |= {f"{rng.integers(0, 9)}{i}": empty for i in range(int(rng.choice([3, 15_000, 60_000, 90_000])))}
    elif kind == 3:
        header[str(rng.choice([CONTROL, "x" * 100_000, "", "a.b" * 60, "module." * 20 + name]))] = header.pop(name)
    elif kind == 4:
        tensor["dtype"] = str(rng.choice(["F16", "BF16", "I8", "F8_E4M3", "F128", CONTROL, "bool", "C64", ""]))
    elif kind == 5:
        header[name] = hostile_value(rng)
    elif kind == 6:
        header["__metadata__"] = {str(rng.choice([CONTROL, "minilora", "format"])): str(hostile_value(rng))}
    elif kind == 7:
        tensor["shape"] = [*tensor["shape"], *[1] * int(rng.choice([1, 40, 70]))]
    else:
        about = json.loads(header.get("__metadata__", {}).get("minilora", "null"))
        if not isinstance(about, dict):
            about = {}
        about.pop("sha256", None)
        header["__metadata__"] = {"minilora": hostile_json(json.dumps(about or {"kind": "gpt"}).encode(), rng).decode()}
    return join_safetensors(header, data)


def plain_list(values):
    return [int(value) for value in values]


def hostile_csv(content, rng):
    """A table with many columns, long or odd names, quotes, short and long rows."""
    header, _, rows = content.decode().partition("\n")
    kind = rng.integers(0, 7)
    if kind == 0:
        header += "," * int(rng.choice([10, 100_000, 900_000]))
    elif kind == 1:
        header = str(rng.choice([CONTROL, "x" * 200_000, header + "," + header, "", '"' + header])).replace("\0", "")
    elif kind == 2:
        rows = ("," * int(rng.choice([2, 500_000])) + "\n") * int(rng.choice([1, 20]))
    elif kind == 3:
        rows = "a,b\n" * int(rng.choice([1, 1000, 30_000, 500_001]))
        header += "," * int(rng.choice([0, 150_000]))
    elif kind == 4:
        rows = f"{CONTROL},{CONTROL}\n" * 20 + rows
    elif kind == 5:
        rows = (
            rows.replace(",", str(rng.choice(['"', ',"', ";", "\t", ",,", "\ud83d\ude00"])))
            if rng.integers(0, 2)
            else '"' * 90_000
        )
    else:
        rows = "\n" * int(rng.choice([5, 1_000_000])) + rows
    return f"{header}\n{rows}".encode("utf-8", "replace")


def hostile_jsonl(content, rng):
    """Lines with hostile values, and many or long lines."""
    lines = content.decode().splitlines()
    i, kind = int(rng.integers(0, len(lines))), rng.integers(0, 4)
    if kind == 0:
        lines[i] = hostile_json(lines[i].encode(), rng).decode()
    elif kind == 1:
        lines[i] = json.dumps(hostile_value(rng))
    elif kind == 2:
        lines = lines[:1] * int(rng.choice([1000, 30_000]))
    else:
        lines[i] = str(rng.choice(["[" * 900_000, "{}", "null", '{"source": 1e999}', '{"a":1}' * 100_000, CONTROL]))
    return "\n".join(lines).encode("utf-8", "replace")


def hostile(name):
    """What makes a file of this name hostile."""
    for ending, function in (
        (".safetensors", hostile_safetensors),
        (".json", hostile_json),
        (".csv", hostile_csv),
        ("task.jsonl", hostile_jsonl),
    ):
        if name.endswith(ending):
            return function
    return None
