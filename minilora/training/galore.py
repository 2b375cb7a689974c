"""GaLore (Zhao et al., 2024): AdamW on all weights whose state lives in a small space that the gradient chooses.

A matrix W (O, I) with r < min(O, I) has, in place of AdamW's two arrays of O I numbers,

    P       r min(O, I)        the directions of its gradient, chosen every `every` updates by one SVD
    m, v    2 r max(O, I)      AdamW's means, of the projected gradient R

and moves by scale times what AdamW makes of R, taken back to (O, I). Everything else (biases, gains, small matrices) is
trained by AdamW as usual. m and v are kept when P changes, as the paper does, though their directions are then others'.
`ops/galore.py` has the mathematics, and how it mirrors LoRA. Gradients are as large as those of full fine-tuning; only
the optimizer's state is small.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

from minilora.arrays.backend import Array, get_xp
from minilora.methods.selection import check_integer
from minilora.ops.fast import adamw_inplace, galore_back, galore_project, galore_projector
from minilora.parameter import Parameter
from minilora.training.optimizers import AdamW
from minilora.training.parameter_groups import ParameterGroup, check_rate


class GaLore(AdamW):
    """AdamW in the r directions in which each matrix's gradient is largest.

    Parameters
    ----------
    parameters, lr, betas, eps, weight_decay
        See `AdamW`.
    rank : int
        r. A matrix whose shorter side is not longer than r is trained by AdamW.
    every : int
        T, the updates of a matrix after which its directions are chosen again; 200 in the paper.
    scale : float
        alpha, by which the step of a projected matrix is multiplied; 0.25 in the paper.
    projector : callable
        ``projector(G, rank)`` chooses the directions, orthonormal columns (min(O, I), r).
    """

    def __init__(
        self,
        parameters: Iterable[Parameter | ParameterGroup],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        rank: int = 128,
        every: int = 200,
        scale: float = 0.25,
        projector: Callable[[Array, int], Array] = galore_projector,
    ) -> None:
        check_integer("rank", rank)
        check_integer("every", every)
        check_rate("scale", scale)
        self.rank, self.every, self.scale, self.projector = rank, every, scale, projector
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def new_state(self, p: Parameter) -> dict[str, Array]:
        """m and v of the projected gradient, and P; AdamW's state where nothing is projected."""
        if len(p.shape) != 2 or min(p.shape) <= self.rank:
            return super().new_state(p)
        xp, (O, I), r = get_xp(p.data), p.shape, self.rank
        small = (r, I) if O <= I else (O, r)
        shapes = {"m": small, "v": small, "P": (min(O, I), r)}
        return {slot: xp.zeros(shape, p.dtype) for slot, shape in shapes.items()}

    def update(self, p: Parameter, state: dict[str, Any], lr: float, t: int) -> None:
        if "P" not in state:
            super().update(p, state, lr, t)
            return
        P = state["P"]
        if (t - 1) % self.every == 0:
            P[...] = self.projector(p.grad, self.rank)
        R = galore_project(p.grad, P)  # (r, I), or (O, r)
        step = get_xp(R).zeros_like(R)
        adamw_inplace(step, R, state["m"], state["v"], t, lr, *self.betas, self.eps)  # -lr m_hat / (sqrt(v_hat) + eps)
        p.data += self.scale * galore_back(step, P, (p.shape[0], p.shape[1]))


def galore_values(shapes: Iterable[tuple[int, ...]], rank: int) -> int:
    """How many numbers GaLore keeps for parameters of these shapes: r (min(O, I) + 2 max(O, I)), or 2 for each."""
    return sum(
        rank * (min(shape) + 2 * max(shape)) if len(shape) == 2 and min(shape) > rank else 2 * math.prod(shape)
        for shape in shapes
    )
