"""AdaLoRA's budget (Zhang et al., 2023, sections 3.2 and 3.3): after each step, the least important triplets go.

Importance. The sensitivity of a number w is I = |w dw|, to first order what the loss would change by if w were zero.
One batch's is noisy, so its mean Ibar counts, and more so where it is uncertain (equations 9 to 11):

    Ibar <- beta1 Ibar + (1 - beta1) I,     U <- beta2 U + (1 - beta2) |I - Ibar|,     s(w) = Ibar U
    S_k = s(lam_k) + mean over o of s(P_ok) + mean over i of s(Q_ki)      of the triplet k of a layer (equation 8)

Budget. b(t) triplets in all layers together are kept, from b0 = initial_rank to bT = rank for each (equation 12):

    t <= t_i             b0                                                   t_i = warmup_share T
    t_i < t < T - t_f    bT + (b0 - bT) (1 - (t - t_i) / (T - t_i - t_f))^3   t_f = final_share T; every `interval`
    t >= T - t_f         bT                                                   the same triplets from then on

Those with the largest S stay as the optimizer made them, and lam of the others is set to 0. Until t = T - t_f one of
them can come back, because its lam has a gradient.
"""

import math
from typing import Any

from minilora.arrays.backend import get_xp
from minilora.methods.adalora import AdaLoRAConfig, triplets_of
from minilora.parameter import Module
from minilora.training.optimizers import AdamW


class AdaLoRAAdamW(AdamW):
    """AdamW on a model that AdaLoRA adapts, which prunes after each step.

    Parameters
    ----------
    model : Module
    lr, betas, eps, weight_decay
        See `AdamW`.
    total : int
        T, how many steps there will be.
    """

    slots: tuple[str, ...] = ("m", "v", "Ibar", "U")

    def __init__(self, model: Module, lr: float, total: int, **settings: Any) -> None:
        super().__init__(model.parameters(), lr, **settings)
        self.triplets = triplets_of(model)
        if not self.triplets:
            raise ValueError("model had no active adapter of AdaLoRA's; apply_adalora(model, config, rng=rng) adds one")
        self.config: AdaLoRAConfig = self.triplets[0].config
        self.total = total
        self.state_of = {id(p): state for p, state in zip(self.parameters, self.state, strict=True)}

    def step(self) -> None:
        """Measure the sensitivities, change every parameter that has a gradient, and prune."""
        self._measure()
        off = [factors.lam.data == 0 for factors in self.triplets]
        super().step()
        kept = budget(self.steps, self.total, self.config, len(self.triplets))
        if self.steps > fixed_from(self.total, self.config):
            for factors, was_off in zip(self.triplets, off, strict=True):
                factors.lam.data[was_off] = 0.0
        elif kept is not None:
            self._prune(kept)

    def _measure(self) -> None:
        beta1, beta2 = self.config.beta1, self.config.beta2
        for factors in self.triplets:
            for p in (factors.B, factors.lam, factors.A):
                if p.grad is None:
                    continue
                state, I = self.state_of[id(p)], abs(p.data * p.grad)
                state["Ibar"] += (1 - beta1) * (I - state["Ibar"])
                state["U"] += (1 - beta2) * (abs(I - state["Ibar"]) - state["U"])

    def importance(self) -> list[Any]:
        """S of every triplet, (r,) for each layer."""

        def s(p: Any) -> Any:
            state = self.state_of[id(p)]
            return state["Ibar"] * state["U"]

        return [s(f.lam) + s(f.B).mean(axis=0) + s(f.A).mean(axis=1) for f in self.triplets]  # (r,) each

    def _prune(self, kept: int) -> None:
        S = self.importance()
        xp = get_xp(S=S[0])
        order = xp.argsort(-xp.concatenate(S), kind="stable")  # the most important first
        keep = xp.zeros(len(order), dtype=bool)
        keep[order[:kept]] = True
        start = 0
        for factors in self.triplets:
            lam = factors.lam.data
            lam[~keep[start : start + len(lam)]] = 0.0
            start += len(lam)


def fixed_from(total: int, config: AdaLoRAConfig) -> int:
    """T - t_f, the step after which nothing more is chosen."""
    return total - math.floor(config.final_share * total)


def budget(t: int, total: int, config: AdaLoRAConfig, layers: int) -> int | None:
    """How many triplets are kept after step t, in all layers together; None if nothing is pruned then."""
    first, last = math.ceil(config.warmup_share * total), fixed_from(total, config)
    b0, bT = config.initial_rank * layers, config.rank * layers
    if t > last or (t < last and (t <= first or t % config.interval)):
        return None
    left = 0.0 if t == last else 1.0 - (t - first) / (last - first)
    return int(bT + (b0 - bT) * left**3)
