"""Wrong backwards of the prefix's choice, each of which a gradient check must find, in a decoder and in an encoder."""

from minilora.ops.fast import prefix_backward


def dP_of_one_sequence(dy, cache):
    return prefix_backward(dy[:1], cache._replace(slots=cache.slots[:1]))[1]


MUTANTS = {
    "dx goes on where it was replaced": lambda dy, cache: (dy, prefix_backward(dy, cache)[1]),
    "dx is lost": lambda dy, cache: (0.0 * dy, prefix_backward(dy, cache)[1]),
    "dP of one sequence": lambda dy, cache: (prefix_backward(dy, cache)[0], dP_of_one_sequence(dy, cache)),
    "dP in the wrong order": lambda dy, cache: (
        prefix_backward(dy, cache)[0],
        prefix_backward(dy, cache)[1][::-1].copy(),
    ),
}
