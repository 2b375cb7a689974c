"""The checks that find the museum's mistakes. Each looks up what it checks when it runs, and so sees an exchange."""

import functools
from typing import Any

import numpy

from minilora import data
from minilora.exercises.tasks import TASKS
from minilora.gradcheck import check_model, check_op
from minilora.methods import LoRAConfig, apply_lora, lora_layers
from minilora.models import GPT, GPTConfig, Llama, LlamaConfig
from minilora.models.model import Model
from minilora.museum.exhibit import Check
from minilora.ops import Llama3Scaling, fast, rope_frequencies, rope_table
from minilora.parameter import Parameter
from minilora.training import AdamW, TrainConfig, Trainer, objective, optimizers, step

SIZES: dict[str, Any] = {"vocab_size": 11, "n_positions": 6, "n_layer": 2, "d_model": 8, "n_head": 4}
SCALING = Llama3Scaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_n_positions=16)


def tiny(kind: str) -> Model:
    """A tiny model in float64 at a generic point: "gpt", "llama", or "lora", a GPT with adapters."""
    rng = numpy.random.default_rng(3)
    if kind == "llama":
        config = LlamaConfig(**SIZES, n_kv_head=2, d_mlp=12, rope_scaling=SCALING, tied_head=True)
        model: Any = Llama(config, rng, dtype="float64")
    else:
        model = GPT(GPTConfig(**SIZES), rng, dtype="float64")
    if kind == "lora":
        apply_lora(model, LoRAConfig(rank=2, alpha=5, targets=("q_proj", "v_proj", "fc_in")), rng=rng)
    for p in model.parameters():
        p.data[...] += 0.3 * rng.standard_normal(p.shape)
    return model


def batch(N: int = 4, T: int = 6) -> data.LMBatch:
    """Rows of a tiny language, of which each has another number of tokens that count."""
    rng = numpy.random.default_rng(5)
    tokens = rng.integers(0, SIZES["vocab_size"], (N, T + 1))
    counts = numpy.arange(T) < numpy.arange(1, N + 1)[:, None]
    return data.LMBatch(tokens[:, :-1], tokens[:, 1:], counts)


# ---- gradients


def of_op(name: str) -> Check:
    """`check_op` on an op of `minilora.ops.fast`, at a generic point."""
    return Check(f"`check_op` of `{name}_forward` and `{name}_backward`", functools.partial(_check_op, name))


def _check_op(name: str) -> None:
    rng = numpy.random.default_rng(1)

    def normal(*shape: int) -> numpy.ndarray:
        return rng.standard_normal(shape)

    x, W, A, B = normal(2, 3, 5), normal(4, 5), normal(2, 5), normal(4, 2)
    mask, ids = rng.integers(0, 2, (2, 3, 5)) * 2.0, numpy.array([[0, 2, 2], [1, 0, 2]])
    cos_sin = rope_table(numpy.arange(5), rope_frequencies(4, 10000.0, SCALING), "float64")
    lora, heads = {"x": x, "W": W, "bias": normal(4), "A": A, "B": B}, {"q": normal(2, 4, 5, 3)}
    three = ("x", "A", "B")
    points: dict[str, tuple] = {  # arrays, the other arguments, and the arrays that have a gradient
        "linear": ({"x": x, "W": W, "bias": normal(4)}, (), None),
        "lora_linear": (lora, (1.7, mask), three),
        "dora_linear": (lora | {"m": normal(4)}, (1.7,), (*three, "m")),
        "layernorm": ({"x": x, "gain": normal(5), "bias": normal(5)}, (), None),
        "rmsnorm": ({"x": x, "gain": normal(5)}, (0.1,), None),
        "silu_gate": ({"gate": x, "up": normal(2, 3, 5)}, (), None),
        "rope": ({"x": normal(2, 3, 5, 4)}, cos_sin, None),
        "attention": (heads | {"k": normal(2, 2, 5, 3), "v": normal(2, 2, 5, 3)}, (), None),
        "embedding": ({"W": normal(4, 3)}, (ids,), None),
        "linear_cross_entropy": ({"x": normal(6, 5), "W": W}, (rng.integers(0, 4, 6),), None),
    }
    arrays, others, wrt = points[name]
    forward, backward = getattr(fast, f"{name}_forward"), getattr(fast, f"{name}_backward")
    if name == "embedding":
        embed = forward

        def forward(W: numpy.ndarray, ids: numpy.ndarray) -> Any:
            return embed(ids, W)

    check_op(forward, backward, arrays, *others, rng=numpy.random.default_rng(2), wrt=wrt)


def of_model(kind: str) -> Check:
    """`check_model` on a tiny model."""
    whole = {"gpt": "a GPT", "llama": "a Llama", "lora": "a GPT with LoRA"}[kind]
    return Check(f"`check_model` of {whole}", lambda: check_model(tiny(kind), batch(), rng=numpy.random.default_rng(7)))


# ---- what is added up


def _gradients(accumulation: int) -> dict[str, numpy.ndarray]:
    model = tiny("gpt")
    model.zero_grad()
    with objective.DataParallel(model, 1, accumulation) as parallel:
        parallel.loss_and_backward(batch())
    return {path: p.grad for path, p in model.named_parameters() if p.grad is not None}


def _micro_batches() -> None:
    whole, parts = _gradients(1), _gradients(4)
    for path, grad in whole.items():
        _equal(f"the gradient of {path}, from micro-batches", parts[path], grad)


def _second_step() -> None:
    model: Any = tiny("gpt")
    model.freeze()
    model.ln_f.gain.trainable = True
    optimizer = optimizers.SGD(model.parameters(), lr=0.0)  # the weights stay, so both steps have the same gradient
    norms = [step.train_step(model, optimizer, batch(), lr=0.0)[1] for _ in range(2)]
    _equal("the gradient's norm in the second of two equal steps", norms[1], norms[0])


MICRO_BATCHES = Check("the gradient of micro-batches against that of the whole batch", _micro_batches)
SECOND_STEP = Check("the same step twice has the same gradient", _second_step)


# ---- the start


def _start() -> None:
    model = GPT(GPTConfig(**SIZES), numpy.random.default_rng(3))
    ids = batch().ids
    before, _ = model.forward(ids)
    apply_lora(model, LoRAConfig(rank=2, alpha=5, targets=("q_proj",)), rng=numpy.random.default_rng(0))
    _equal("the logits with a new adapter", model.forward(ids)[0], before, 0.0)


def _first_gradient() -> None:
    model = GPT(GPTConfig(**SIZES), numpy.random.default_rng(3))
    apply_lora(model, LoRAConfig(rank=2, alpha=5, targets=("q_proj",)), rng=numpy.random.default_rng(0))
    model.backward_loss(1.0, model.loss(batch())[1])
    for path, layer in lora_layers(model).items():
        assert numpy.any(layer.B.grad), f"the first gradient of {path}.B is zero everywhere, as that of A is"


def _scale() -> None:
    (layer, *_) = lora_layers(tiny("lora")).values()
    _equal("delta_W", layer.delta_W(), 5 / 2 * layer.B.data @ layer.A.data)


START = Check("a new adapter leaves the base as it is, to the bit", _start)
FIRST_GRADIENT = Check("the first gradient of B is not zero", _first_gradient)
SCALE = Check("delta_W = alpha / r B A", _scale)


# ---- what the loss is on


def _causal() -> None:
    model, ids = tiny("gpt"), batch().ids
    before, _ = model.forward(ids)
    changed = ids.copy()
    changed[:, -1] = (changed[:, -1] + 1) % SIZES["vocab_size"]
    after, _ = model.forward(changed)
    _equal("the logits before a token that was changed", after[:, :-1], before[:, :-1])


def _next_token() -> None:
    model, given = tiny("gpt"), batch()
    logits, _ = model.forward(given.ids)
    by_hand = (
        numpy.log(numpy.exp(logits).sum(axis=-1)) - numpy.take_along_axis(logits, given.targets[..., None], -1)[..., 0]
    )
    _equal("the loss", model.loss(given)[0], by_hand[given.loss_mask].mean())


def _row_lengths() -> None:
    rng = numpy.random.default_rng(0)
    W, A, B, m = (rng.standard_normal(shape) for shape in ((4, 5), (2, 5), (4, 2), (4,)))
    W_rows, _ = fast.dora_linear_forward(numpy.eye(5), W, None, A, B, m, 1.7)
    _equal("the length of each row of W'", numpy.linalg.norm(W_rows, axis=0), numpy.abs(m))


CAUSAL = Check("a later token changes no earlier logits", _causal)
NEXT_TOKEN = Check("the loss is that of the next token, computed by hand from the logits", _next_token)
ROW_LENGTHS = Check("row o of DoRA's W' has the length |m_o|", _row_lengths)


# ---- the optimizer


def _adamw() -> None:
    """Three steps of two parameters, against the exercise's solution."""
    rng, right = numpy.random.default_rng(0), TASKS["adamw_step"].functions["adamw_step"]
    ps = [Parameter(rng.standard_normal(3)) for _ in range(2)]
    wanted = [(p.data.copy(), 0.0, 0.0) for p in ps]
    optimizer = AdamW(ps, lr=0.1, betas=(0.8, 0.95), weight_decay=0.3)
    for t in (1, 2, 3):
        for i, p in enumerate(ps):
            p.grad = rng.standard_normal(3)
            wanted[i] = right(wanted[i][0], p.grad, *wanted[i][1:], t, 0.1, 0.8, 0.95, 1e-8, 0.3)
        optimizer.step()
    for p, (want, _, _) in zip(ps, wanted, strict=True):
        _equal("a parameter after three steps", p.data, want)


def _clipped() -> None:
    ps = [Parameter(numpy.zeros(2)), Parameter(numpy.zeros(1))]
    ps[0].grad, ps[1].grad = numpy.array([2.0, 3.0]), numpy.array([6.0])  # a joint norm of 7
    optimizers.clip_gradients(ps, 1.0)
    clipped = numpy.concatenate([numpy.asarray(p.grad) for p in ps])
    _equal("the joint norm of clipped gradients", numpy.linalg.norm(clipped), 1.0, 1e-6)


def _rate() -> None:
    config = TrainConfig(steps=8, batch_size=4, lr=1.0, warmup=0.0, accumulation=2, threads=1)
    trainer = Trainer(tiny("gpt"), lambda rng: batch(), config)
    rates = []
    take_step = trainer.optimizer.step

    def noted() -> None:
        rates.append(trainer.optimizer.lr)
        trainer.optimizer.lr = 0.0
        take_step()

    trainer.optimizer.step = noted  # type: ignore[method-assign]
    trainer.run(progress=False)
    _equal("the learning rates of 8 steps with a linear schedule", numpy.array(rates), 1.0 - numpy.arange(8) / 8)


ADAMW = Check("three steps of `AdamW` against the formula", _adamw)
CLIPPED = Check("clipped gradients have the norm that they are clipped to", _clipped)
RATE = Check("the learning rate of each step, with micro-batches", _rate)


def _equal(what: str, got: Any, wanted: Any, bound: float = 1e-9) -> None:
    got, wanted = numpy.asarray(got, "float64"), numpy.asarray(wanted, "float64")
    error = float(numpy.abs(got - wanted).max(initial=0.0))
    assert error <= bound, f"{what} is off by up to {error:.3g}"
