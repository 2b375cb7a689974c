"""Ways to damage a file: byte by byte, or where it hurts, in the JSON of its header or configuration."""

import copy
import json
import struct

ODD = (
    0,
    1,
    -1,
    2,
    7,
    255,
    2**31,
    2**53,
    2**63,
    -(2**63),
    10**30,
    10**400,
    0.5,
    -0.0,
    1e-300,
    1e308,
    float("nan"),
    float("inf"),
    True,
    False,
    None,
    "",
    "x",
    "x" * 5000,
    "../../outside",
    "/etc/passwd",
    "..",
    "a\0b",
    "q_proj",
    "float64",
    "F64",
    "BF16",
    "I64",
    "F8_E4M3",
    "(a+)+$",
    ".*",
    [],
    {},
    [[]],
    [0],
    [1, 2, 3],
    [2**40, 2**40],
    ["x"],
    {"x": 1},
    {"": None},
)


def mutate_bytes(content, rng):
    """Flip, overwrite, cut, repeat, move or add some bytes, once or a few times."""
    content = bytearray(content)
    for _ in range(int(rng.choice((1, 1, 1, 2, 5)))):
        n = len(content)
        i, length = int(rng.integers(0, n + 1)), int(rng.choice((1, 2, 8, 100, 5000)))
        random = rng.bytes(min(length, 200))
        kind = rng.integers(0, 8)
        if kind == 0 and n:
            content[i % n] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1 and n:
            content[i % n] = int(rng.choice((0, 9, 10, 13, 32, 34, 44, 92, 127, 128, 192, 255)))
        elif kind == 2:
            del content[i : i + length]
        elif kind == 3:
            content[i:i] = content[i : i + length]
        elif kind == 4:
            content[i:i] = random
        elif kind == 5:
            content[i : i + len(random)] = random
        elif kind == 6:
            del content[i:]
        else:
            content[:8] = struct.pack("<Q", int(rng.choice((0, 1, n, n - 8, 2**31, 2**62))) % 2**63)
    return bytes(content)


def mutate_json(value, rng):
    """A copy of something from JSON with a node that has another value or name, is gone, or is there twice."""
    value = copy.deepcopy(value)
    container, key = _some_place(value, rng)
    if container is None:
        return odd(rng)
    kind = rng.integers(0, 6)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[str(odd(rng))] = container.pop(key)
    elif kind == 2 and isinstance(container, list):
        container.insert(int(rng.integers(0, len(container) + 1)), container[key])
    elif kind == 3 and isinstance(container[key], int) and not isinstance(container[key], bool):
        container[key] += int(rng.choice((-1, 1, 10, 2**20)))
    elif kind == 4 and isinstance(container, dict):
        container[str(odd(rng))] = odd(rng)
    else:
        container[key] = odd(rng)
    return value


def odd(rng):
    """A value that does not belong there."""
    if rng.integers(0, 20) == 0:
        nested = []
        for _ in range(int(rng.choice((10, 500)))):
            nested = [nested]
        return nested
    return copy.deepcopy(ODD[int(rng.integers(0, len(ODD)))])


def _some_place(value, rng):
    """(container, key) of a node, the deeper ones as likely as the upper ones; (None, None) if it holds nothing."""
    places, stack = [], [value]
    while stack:
        container = stack.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        places += [(container, key) for key in keys]
        stack += [container[key] for key in keys if isinstance(container[key], (dict, list))]
    return places[int(rng.integers(0, len(places)))] if places else (None, None)


def to_json(value):
    """JSON, also of what it cannot well hold: lone surrogates, NaN, and lists that are nested too deeply."""
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"[" * 100_000


def mutate_json_file(content, rng):
    return to_json(mutate_json(json.loads(content), rng)) if rng.integers(0, 4) else mutate_bytes(content, rng)


def split_safetensors(content):
    """(header, data) of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_safetensors(header, data):
    text = to_json(header)
    return struct.pack("<Q", len(text)) + text + data


def mutate_safetensors(content, rng):
    """Bytes anywhere, or the header's JSON, or the JSON that minilora keeps in it, without its checksum."""
    header, data = split_safetensors(content)
    kind = rng.integers(0, 3)
    about = json.loads(header.get("__metadata__", {}).get("minilora", "null"))
    if kind == 0:
        return mutate_bytes(content, rng)
    if kind == 1 or about is None:
        return join_safetensors(mutate_json(header, rng), data)
    del about["sha256"]
    header["__metadata__"]["minilora"] = to_json(mutate_json(about, rng)).decode()
    return join_safetensors(header, data)
