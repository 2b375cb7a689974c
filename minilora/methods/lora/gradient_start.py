"""LoRA-GA (Wang et al., 2024): A and B start so that LoRA's first step is as close as it can be to full fine-tuning's.

With G = dL/dW = dy^T x of some batches at the start, (O, I), a step of gradient descent with rate lr changes W by -lr G
in full fine-tuning, and to first order, because dB = scale G A^T and dA = scale B^T G, in LoRA by

    -lr scale (dB A0 + B0 dA) = -lr scale^2 (G A0^T A0 + B0 B0^T G)

Both terms have rank r, so the sum has rank 2 r at most, and the closest to G of that rank is its truncated SVD (Eckart
and Young). With G = U S V^T it is reached where A0 and B0 take different directions of G (the paper, section 3):

    A0 = a V_[1..r]^T,   B0 = a U_[r+1..2r]        G A0^T A0 = a^2 the first r terms, B0 B0^T G = a^2 the next r

a = O^(1/4) / sqrt(gamma), which keeps the output's scale independent of O and r if scale is rsLoRA's, alpha / sqrt(r).
B0 A0 is not zero, so W_res = W - scale B0 A0 is frozen in the place of W, as in PiSSA: the start is the base's
function. (PEFT's lora_ga multiplies B0 by its singular values, so that their squares weigh the next r terms.)
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minilora.arrays.backend import Array, get_xp
from minilora.layers import QuantizedParameter
from minilora.parameter import Module, Parameter


def gradient_start(G: Array, rank: int, gamma: float) -> tuple[Array, Array]:
    """B0 (O, r) and A0 (r, I) for the gradient G (O, I) of W; 2 r must be at most min(O, I)."""
    U, _, Vt = get_xp(G=G).linalg.svd(G, full_matrices=False)  # (O, K), (K,), (K, I), with K = min(O, I)
    a = float(G.shape[0] ** 0.25 / gamma**0.5)
    return a * U[:, rank : 2 * rank], a * Vt[:rank]


def weight_gradients(model: Module, weights: Mapping[str, Parameter], batches: Iterable[Any]) -> dict[str, Array]:
    """The gradient of some batches' mean loss with respect to each of these weights of a model, by the same names.

    Parameters
    ----------
    model : Model
        It is as before afterwards, its gradients included.
    weights : dict of str to Parameter
    batches : iterable of Batch
        Of the kind that the model's loss takes; at least one.

    Raises
    ------
    ValueError
        If a weight is quantised, so that it has no gradient.
    """
    if fixed := [path for path, p in weights.items() if isinstance(p, QuantizedParameter)]:
        raise ValueError(f"init was 'lora-ga', but {fixed[0]} is quantised; it needs the gradient of a float W")
    batches = list(batches)
    before = [(p, p.trainable, p.grad) for p in model.parameters()]
    try:
        model.freeze()
        for p in weights.values():
            p.trainable = True
        for batch in batches:
            _, cache = model.loss(batch)  # type: ignore[attr-defined]
            model.backward_loss(1.0 / len(batches), cache)  # type: ignore[attr-defined]
        return {path: p.grad for path, p in weights.items()}
    finally:
        for p, trainable, grad in before:
            p.trainable, p.grad = trainable, grad


def check_batches(batches: Sequence[Any] | None) -> Sequence[Any]:
    """The batches, of which there must be one; ValueError if there is none."""
    if not batches:
        raise ValueError(
            "init was 'lora-ga', which starts from the gradient of some batches; batches must hold at least one"
        )
    return batches
