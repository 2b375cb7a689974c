"""LoRA in one file, with nothing but Python's own library: a transformer, its gradients by hand, and A and B.

A small GPT learns to spell English; then it is frozen, and LoRA teaches it Korean. A matrix is a list of rows.
"""

import math
import random
import re
import unicodedata
from operator import mul
from pydoc_data.topics import topics

V, T, C, F, L = 27, 12, 16, 48, 1  # letters and the end, positions, channels, MLP width, layers
RANK, SCALE, END = 4, 2.0, 0  # r; alpha / r; the token before and after a word. Token 1 is a, 2 is b, ...
SHAPES = {"wte": (V, C), "wpe": (T, C)}  # of the embeddings of tokens and positions, and of the matrices of each block
for n in range(L):
    SHAPES |= {f"blocks.{n}.attn.{name}_proj": (C, C) for name in "qkvo"}
    SHAPES |= {f"blocks.{n}.mlp.fc_in": (F, C), f"blocks.{n}.mlp.fc_out": (C, F)}


def product(a, b):
    """a b^T: (M, K), (N, K) -> (M, N). Nearly all of the time is spent here."""
    return [[sum(map(mul, row, column)) for column in b] for row in a]


def t(a):
    """The transpose of a matrix."""
    return list(zip(*a))


def each(f, *matrices):
    """f of the numbers at the same place of each matrix."""
    return [list(map(f, *rows)) for rows in zip(*matrices)]


def add(a, b, scale=1.0):
    """a + scale * b"""
    return each(lambda p, q: p + scale * q, a, b)


def linear(P, name, x):
    """y = x W^T, with an adapter + scale (x A^T) B^T; x has a row for each letter. P: all parameters by name."""
    y = product(x, P[name + ".W"])  # (T, I) -> (T, O)
    if name + ".A" not in P:
        return y, (x, None)
    h = product(x, P[name + ".A"])  # (T, I) -> (T, r)
    return add(y, product(h, P[name + ".B"]), SCALE), (x, h)


def linear_backward(P, G, name, dy, cache):
    """Returns dx, and adds to the gradients that G has: dW, or dA and dB."""
    x, h = cache
    dx = product(dy, t(P[name + ".W"]))  # (T, O) (O, I)
    if name + ".W" in G:
        G[name + ".W"] = add(G[name + ".W"], product(t(dy), t(x)))  # (O, T) (T, I)
    if h is not None:
        dh = product(dy, t(P[name + ".B"]))  # (T, O) (O, r)
        G[name + ".B"] = add(G[name + ".B"], product(t(dy), t(h)), SCALE)  # not zero at the start, because A is not
        G[name + ".A"] = add(G[name + ".A"], product(t(dh), t(x)), SCALE)  # zero while B is zero
        dx = add(dx, product(dh, t(P[name + ".A"])), SCALE)
    return dx


def layernorm(x):
    """y = (x - mean) / std, each row by itself."""
    means = [sum(row) / C for row in x]
    stds = [math.sqrt(sum((v - m) ** 2 for v in row) / C + 1e-5) for row, m in zip(x, means)]
    y = [[(v - m) / s for v in row] for row, m, s in zip(x, means, stds)]
    return y, (y, stds)


def layernorm_backward(dy, cache):
    """dx = (dy - mean(dy) - y mean(dy y)) / std"""
    dx = []
    for d, y, std in zip(dy, *cache):
        m, s = sum(d) / C, sum(map(mul, d, y)) / C
        dx.append([(p - m - q * s) / std for p, q in zip(d, y)])
    return dx


def softmax(row):
    """exp(v) / (sum of all exp(v)); the largest v is taken away first, against overflow."""
    top = max(row)
    total = sum(e := [math.exp(v - top) for v in row])
    return [v / total for v in e]


def attention(q, k, v):
    """y = softmax(q k^T / sqrt(C)) v, with one head: a position averages the values of those up to itself."""
    scores = each(lambda s: s / math.sqrt(C), product(q, k))  # (T, T)
    probs = [softmax(row[: i + 1]) + [0.0] * (len(row) - i - 1) for i, row in enumerate(scores)]
    return product(probs, t(v)), (q, k, v, probs)


def attention_backward(dy, cache):
    """dv = p^T dy;  dp = dy v^T;  dscores = p (dp - sum(dp p)) / sqrt(C);  dq = dscores k;  dk = dscores^T q"""
    q, k, v, p = cache
    dp = product(dy, v)
    sums = [[sum(map(mul, *rows))] * len(p) for rows in zip(dp, p)]
    ds = each(lambda dp, p, s: p * (dp - s) / math.sqrt(C), dp, p, sums)
    return product(ds, t(k)), product(t(ds), t(q)), product(t(p), t(dy))


def gelu(x):
    """x Phi(x), in GPT-2's tanh form, and its slope."""
    phi = 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * phi, phi + 2 * x * phi * (1 - phi) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)


def forward(P, ids):
    """The logits after each token, (T, V), and a cache for the backward."""
    x, blocks = add([P["wte.W"][i] for i in ids], P["wpe.W"]), []
    for block in (f"blocks.{n}." for n in range(L)):
        a, ln_1 = layernorm(x)
        qkv, linears = zip(*(linear(P, f"{block}attn.{name}_proj", a) for name in "qkv"))
        y, attn = attention(*qkv)
        y, o = linear(P, block + "attn.o_proj", y)
        x = add(x, y)
        a, ln_2 = layernorm(x)
        a, fc_in = linear(P, block + "mlp.fc_in", a)
        y, fc_out = linear(P, block + "mlp.fc_out", each(lambda v: gelu(v)[0], a))
        x = add(x, y)
        blocks.append((block, ln_1, linears, attn, o, ln_2, a, fc_in, fc_out))
    x, ln_f = layernorm(x)
    return product(x, P["wte.W"]), (ids, blocks, x, ln_f)  # the head is the embedding, too


def backward(P, G, dlogits, cache):
    """The forward, read from its end."""
    ids, blocks, x, ln_f = cache
    dx = layernorm_backward(product(dlogits, t(P["wte.W"])), ln_f)
    for block, ln_1, linears, attn, o, ln_2, a, fc_in, fc_out in reversed(blocks):
        da = linear_backward(P, G, block + "mlp.fc_out", dx, fc_out)
        da = linear_backward(P, G, block + "mlp.fc_in", each(lambda d, v: d * gelu(v)[1], da, a), fc_in)
        dx = add(dx, layernorm_backward(da, ln_2))
        grads = attention_backward(linear_backward(P, G, block + "attn.o_proj", dx, o), attn)
        for name, d, c in zip("qkv", grads, linears):  # a has three uses, so its gradient is the sum of three
            dx = add(dx, layernorm_backward(linear_backward(P, G, f"{block}attn.{name}_proj", d, c), ln_1))
    if "wte.W" in G:
        G["wte.W"] = add(G["wte.W"], product(t(dlogits), t(x)))
        for name, rows in (("wte.W", ids), ("wpe.W", range(len(ids)))):
            for i, d in zip(rows, dx):
                G[name][i] = [g + v for g, v in zip(G[name][i], d)]


def word_loss(P, word, G=None):
    """The mean cross-entropy of a word's letters and its end, in nats; adds its gradients to G."""
    ids, targets = [END, *word], [*word, END]
    logits, cache = forward(P, ids)
    probs = [softmax(row) for row in logits]
    if G:
        backward(P, G, [[(p - (i == y)) / len(ids) for i, p in enumerate(r)] for r, y in zip(probs, targets)], cache)
    return -sum(math.log(row[y]) for row, y in zip(probs, targets)) / len(ids)


def train(P, names, words, rng, steps, rate, batch=4):
    """Adam, on the parameters of these names alone: the others stay as they are."""
    m, v = ({name: each(lambda _: 0.0, P[name]) for name in names} for _ in range(2))
    for step in range(1, steps + 1):
        G = {name: each(lambda _: 0.0, P[name]) for name in names}
        loss = sum(word_loss(P, word, G) for word in rng.sample(words, batch)) / batch
        lr = rate * (1 - (step - 1) / steps) * math.sqrt(1 - 0.99**step) / (1 - 0.9**step)
        for name, g in G.items():
            m[name] = each(lambda m, g: 0.9 * m + 0.1 * g / batch, m[name], g)
            v[name] = each(lambda v, g: 0.99 * v + 0.01 * (g / batch) ** 2, v[name], g)
            P[name] = add(P[name], each(lambda m, v: m / (math.sqrt(v) + 1e-8), m[name], v[name]), -lr)
        if step % (steps // 4) == 0:
            print(f"  step {step}: {loss:.2f} nats per letter")


def show(title, P, words, rng):
    """Print the loss on words that were not trained on, and ten words drawn letter by letter."""
    losses = (f"{name} {sum(word_loss(P, word) for word in some[:100]) / 100:.2f}" for name, some in words.items())
    print(f"{title}. Held out: {', '.join(losses)} nats per letter. It writes")
    for _ in range(10):
        word = []
        while len(word) < T and END not in word:
            word += rng.choices(range(V), softmax(forward(P, [END, *word])[0][-1]))
        print(" ", "".join(chr(96 + i) for i in word if i != END), end="")
    print()


if __name__ == "__main__":
    rng = random.Random(0)
    english = set(re.findall(r"\b[a-z]{3,9}\b", " ".join(topics.values())))
    korean = {unicodedata.name(chr(i)).split()[-1].lower() for i in range(0xAC00, 0xD7A4)}  # HANGUL SYLLABLE GAG, ...
    words = {name: rng.sample(sorted(some), 2000) for name, some in (("English", english), ("Korean", korean))}
    words = {name: [[ord(letter) - 96 for letter in word] for word in some] for name, some in words.items()}
    P = {f"{name}.W": [[rng.gauss(0, 0.1) for _ in range(I)] for _ in range(O)] for name, (O, I) in SHAPES.items()}
    print(f"A GPT of {sum(O * I for O, I in SHAPES.values()):,} numbers learns to spell English.")
    train(P, [*P], words["English"][100:], rng, steps=800, rate=0.01)
    show("The base", P, words, rng)
    adapter = {}
    for name, (O, I) in [*SHAPES.items()][2:]:
        adapter[name + ".A"] = [[rng.gauss(0, I**-0.5) for _ in range(I)] for _ in range(RANK)]
        adapter[name + ".B"] = [[0.0] * RANK for _ in range(O)]
    print(f"LoRA, {sum(len(a) * len(a[0]) for a in adapter.values()):,} numbers, learns to spell Korean.")
    train(adapted := P | adapter, [*adapter], words["Korean"][100:], rng, steps=400, rate=0.02)
    show("With LoRA", adapted, words, rng)
    show("Without A and B, it is the base", P, words, rng)
