import math

from exercises.attempts import Attempts

a = Attempts("lora_parameters")


def count(shapes, n_layer, rank):
    return n_layer * sum(rank * (O + I) for O, I in shapes)


def both(why, *true, n=None, r=None):
    functions = ({"lora_parameters": n} if n else {}) | ({"largest_saving_rank": r} if r else {})
    a.is_wrong(why, *true, **functions)


a.is_right("a loop", lora_parameters=lambda s, L, r: sum(r * I + O * r for _ in range(L) for O, I in s))
a.is_right("A and B apart", lora_parameters=lambda s, L, r: L * r * (sum(O for O, _ in s) + sum(I for _, I in s)))
a.is_right("ceil less 1", largest_saving_rank=lambda O, I: -(-O * I // (O + I)) - 1)


def searched(O, I):
    r = 0
    while (r + 1) * (O + I) < O * I:
        r += 1
    return r


a.is_right("a search", largest_saving_rank=searched)

both("a float", n=lambda s, L, r: float(count(s, L, r)))
both("true division", r=lambda O, I: O * I / (O + I))
both("rounded to the nearest", r=lambda O, I: round(O * I / (O + I)))
both("rounded to the nearest, less 1", r=lambda O, I: round(O * I / (O + I)) - 1)
both("half of the smaller side", r=lambda O, I: min(O, I) // 2)
both("half of the larger side", r=lambda O, I: max(O, I) // 2)
both("full rank", r=lambda O, I: min(O, I))
both("a quarter of the sum of the sides", r=lambda O, I: (O + I) // 4)
both("a quarter of the sum of the sides, less 1", r=lambda O, I: (O + I - 1) // 4)
both("the mean of the sides, less 1", r=lambda O, I: (O + I) // 2 - 1)
both("the root of O I, halved", r=lambda O, I: int(math.sqrt(O * I) / 2))
both("A alone smaller than W", r=lambda O, I: O - 1)
both("as for square W, with I", r=lambda O, I: (I - 1) // 2)
both("as for square W, with O", r=lambda O, I: (O - 1) // 2)
both("<= for <", "may hold as many", r=lambda O, I: max(r for r in range(min(O, I) + 1) if r * (O + I) <= O * I))
both("the first rank that saves nothing", "rounded up", r=lambda O, I: next(r for r in range(10**6) if r * (O + I) >= O * I))
both("one too low", r=lambda O, I: max(1, (O * I - 1) // (O + I) - 1))
both("768, the model that everybody knows", r=lambda O, I: 383)
both("n_layer is left out where it is large", n=lambda s, L, r: count(s, min(L, 24), r))
both("24 blocks, GPT-2 medium's", n=lambda s, L, r: count(s, 24, r))
both("two matrices, W_q and W_v", n=lambda s, L, r: 2 * L * r * sum(s[0]))
both("the last matrix for all", n=lambda s, L, r: len(s) * L * r * sum(s[-1]))
both("the first matrix for all", n=lambda s, L, r: len(s) * L * r * sum(s[0]))
both("shapes read as (O, I) pairs of a set: equal ones count once", n=lambda s, L, r: count([s[0], *set(s[1:])] if len(s) > 1 and s[0] != s[1] else set(s), L, r))
both("a rank of r in A and of 1 in B", n=lambda s, L, r: L * sum(r * I + O for O, I in s))
both("plus the scale", n=lambda s, L, r: count(s, L, r) + L * len(s))
both("rank squared", n=lambda s, L, r: L * sum(r * r * (O + I) for O, I in s))
both("the product of the sides, with r", n=lambda s, L, r: L * sum(r * O * I for O, I in s))
both("in thousands", n=lambda s, L, r: count(s, L, r) // 1000)
both("published numbers alone", n=lambda s, L, r: {393216: 393216, 737280: 737280}.get(count(s, L, r), 0))
both("the sum over shapes goes on over calls", n=lambda s, L, r, seen=[]: (seen.append(0), count(s, L, r) + len(seen))[1])
both("a string", n=lambda s, L, r: str(count(s, L, r)))
both("both blank", n=lambda s, L, r: None, r=lambda O, I: None)
