"""A NumPy array that counts the operations of the matrix products that it takes part in."""

import numpy as np


class CountingArray(np.ndarray):
    """Everything computed from it is a CountingArray too, and adds to the same `CountingArray.flops`.

    A product with a vector (a mean, a sum of rows) is no product of matrices, and is not counted.
    """

    flops = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        if ufunc is np.matmul and all(np.ndim(x) >= 2 for x in inputs):
            columns = inputs[0].shape[-1]
            result = np.broadcast_shapes(inputs[0].shape[:-2], inputs[1].shape[:-2])
            CountingArray.flops += 2 * columns * inputs[0].shape[-2] * inputs[1].shape[-1] * int(np.prod(result))
        if out is not None:
            options["out"] = tuple(plain(x) for x in out)
        result = getattr(ufunc, method)(*(plain(x) for x in inputs), **options)
        if out is not None:
            return out[0]
        return result.view(CountingArray) if isinstance(result, np.ndarray) else result

    def __array_function__(self, function, types, arguments, options):
        arguments, options = strip(arguments), {key: strip(value) for key, value in options.items()}
        result = function(*arguments, **options)
        return result.view(CountingArray) if isinstance(result, np.ndarray) else result


def plain(x):
    return x.view(np.ndarray) if isinstance(x, CountingArray) else x


def strip(value):
    if isinstance(value, (list, tuple)):
        return type(value)(strip(x) for x in value)
    return plain(value)


def counted(action):
    """The operations that `action` takes."""
    before = CountingArray.flops
    action()
    return CountingArray.flops - before


def make_counting(model):
    """Give the model arrays that count."""
    for p in model.parameters():
        p.data = p.data.view(CountingArray)
