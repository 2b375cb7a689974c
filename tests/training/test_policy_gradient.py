"""REINFORCE on whole models: the loss is the page's, the policy that draws is the one that is trained, it learns."""

import numpy as np
import pytest

from methods.tiny import CONFIG, gradients_of, rng, same_bits, tiny_gpt, tiny_lora, weights_of
from minilora.data import EpisodeBatch, episode_batch
from minilora.gradcheck import GradientError, check_model
from minilora.methods import LoRAConfig, apply_lora
from minilora.ops import plain_ops, policy_gradient_backward, policy_gradient_forward
from minilora.training import DataParallel, draw_episodes, resume_run
from minilora.training.checkpoint import CHECKPOINT
from models.tiny_llama import tiny_llama
from training.runs import run, trainer

V, END = CONFIG.vocab_size, 0


def some_episodes(N=4, seed=3, V=V):
    """Prompts of 2 tokens, answers of 1 to 4, and an advantage for each."""
    draw = rng(seed)
    prompts = [draw.integers(0, V, 2) for _ in range(N)]
    answers = [draw.integers(0, V, 1 + n % 4) for n in range(N)]
    return episode_batch(prompts, answers, draw.standard_normal(N), padding=END)


def llama_with_lora_on_its_head():
    model = tiny_llama()
    apply_lora(model, LoRAConfig(rank=2, alpha=3, targets=("q_proj", "lm_head")), rng=rng(1))
    for name, p in model.named_parameters():
        if name.endswith(".B"):
            p.data[...] = rng(2).standard_normal(p.data.shape)
    return model


MODELS = {
    "gpt": tiny_gpt,
    "gpt, lora": tiny_lora,
    "llama, tied": lambda: tiny_llama("tied"),
    "llama": tiny_llama,
    "llama, lora on its head": llama_with_lora_on_its_head,
}
each_model = pytest.mark.parametrize("make_model", MODELS.values(), ids=MODELS)


# ---- the batch


def test_only_what_was_drawn_counts():
    batch = episode_batch([np.array([5, 6]), np.array([7])], [np.array([8, END]), np.array([9])], [1, -1], padding=END)
    assert batch.ids.tolist() == [[5, 6, 8], [7, END, END]]
    assert batch.targets.tolist() == [[6, 8, END], [9, END, END]]
    assert batch.loss_mask.tolist() == [[False, True, True], [True, False, False]]
    assert batch.advantages.tolist() == [1.0, -1.0] and batch.n_targets == 2


@pytest.mark.parametrize(
    ("prompts", "answers", "advantages", "message"),
    [
        ([[1]], [[1], [2]], [1.0], "answers were 2; they must be 1, one for each of the prompts"),
        ([[1]], [[1]], [1.0, 2.0], "advantages were 2; they must be 1, one for each of the prompts"),
        ([[1]], [[]], [1.0], "answers had an empty one, or none; each must have at least 1 token"),
        ([[]], [[1]], [1.0], "prompts had an empty one"),
        ([], [], [], "prompts had an empty one, or none"),
    ],
)
def test_episodes_that_do_not_fit_are_refused(prompts, answers, advantages, message):
    prompts, answers = ([np.array(row, dtype=int) for row in rows] for rows in (prompts, answers))
    with pytest.raises(ValueError, match=message):
        episode_batch(prompts, answers, np.array(advantages), padding=END)


WRONG = {
    "None": None,
    "a list": [1.0] * 4,
    "integers": np.ones(4, dtype=int),
    "too many": np.ones(5),
    "a number for each token": np.ones((4, 5)),
}


@pytest.mark.parametrize("advantages", WRONG.values(), ids=WRONG)
def test_wrong_advantages_are_named(advantages):
    with pytest.raises((TypeError, ValueError), match="^advantages .* must be"):
        tiny_gpt().loss(some_episodes()._replace(advantages=advantages))


# ---- the loss and its gradient


@each_model
def test_the_loss_of_a_model_is_the_pages(make_model):
    model = make_model()
    batch = some_episodes()
    logits, cache = model.forward(batch.ids)
    expected, loss_cache = policy_gradient_forward(logits, batch.targets, batch.advantages, batch.loss_mask)
    model.backward(policy_gradient_backward(1.0, loss_cache), cache)
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    found = gradients_of(model, batch)
    assert model.loss(batch)[0] == pytest.approx(expected, rel=1e-13) and grads.keys() == found.keys()
    for name, grad in grads.items():
        np.testing.assert_allclose(found[name], grad, atol=1e-13)


@each_model
def test_every_parameter_passes(make_model):
    assert check_model(make_model(), some_episodes(), rng=rng())


MUTANTS = {
    "the baseline is forgotten": lambda b: b._replace(advantages=b.advantages + 0.3),
    "the prompt counts": lambda b: b._replace(loss_mask=np.ones_like(b.loss_mask)),
    "a mean over the tokens": lambda b: b._replace(advantages=b.advantages / b.loss_mask.sum(axis=1)),
    "a sum over the answers": lambda b: b._replace(advantages=b.advantages * b.n_targets),
    "the sign": lambda b: b._replace(advantages=-b.advantages),
}


@each_model
@pytest.mark.parametrize("wrong", MUTANTS.values(), ids=MUTANTS)
def test_the_gradient_of_another_loss_fails(make_model, wrong, monkeypatch):
    """The loss whose backward is looked at is of the wrong batch; those that it is compared with, of the right one."""
    model, calls = make_model(), []
    loss = model.loss

    def first_of_another(batch):
        calls.append(batch)
        return loss(wrong(batch) if len(calls) == 1 else batch)

    monkeypatch.setattr(model, "loss", first_of_another)
    with pytest.raises(GradientError):
        check_model(model, some_episodes(), rng=rng())
    assert len(calls) > 2


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_shared_among_threads_it_is_the_same(threads, accumulation):
    batch = some_episodes(7)
    whole = tiny_lora()
    expected = gradients_of(whole, batch)
    model = tiny_lora()
    with DataParallel(model, threads, accumulation) as shared:
        loss = shared.loss_and_backward(batch)
    assert loss == pytest.approx(whole.loss(batch)[0], rel=1e-12)
    for name, p in model.named_parameters():
        if name in expected:
            np.testing.assert_allclose(p.grad, expected[name], atol=1e-13)


def test_in_float32_too_and_on_the_page_alone():
    batch = some_episodes()
    expected = tiny_gpt().loss(batch)[0]
    single = tiny_gpt("float32").loss(batch)[0]
    assert single.dtype == np.float32 and single == pytest.approx(expected, rel=1e-5)
    with plain_ops():
        assert tiny_gpt().loss(batch)[0] == pytest.approx(expected, rel=1e-13)


# ---- drawing


def draw(model, n_prompts=2, n_samples=3, reward=lambda i, answer: float(len(answer)), seed=0, **options):
    prompts = [rng(7 + n).integers(1, V, 2 + n % 2) for n in range(n_prompts)]
    options = {"max_tokens": 5, "end_of_text": END} | options
    return draw_episodes(model, prompts, reward, n_samples=n_samples, rng=rng(seed), **options)


def replayed(model, batch, seed, start):
    """What the same random numbers draw from the logits of training's forward, all rows at once; (N, T - start + 1)."""
    logits, _ = model.forward(batch.ids)
    logits = logits[:, start - 1 :].astype(np.float64)
    probs = np.exp(logits - logits.max(axis=-1, keepdims=True))
    below, numbers = np.cumsum(probs / probs.sum(axis=-1, keepdims=True), axis=-1), rng(seed)
    return np.stack(
        [(below[:, t] <= numbers.random((len(batch.ids), 1))).sum(axis=-1) for t in range(below.shape[1])], 1
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("make_model", [tiny_gpt, lambda dtype: tiny_lora(dtype=dtype)], ids=["base", "lora"])
def test_the_policy_that_draws_is_the_one_that_is_trained(make_model, dtype):
    """Token by token with a key-value cache, or all at once in the forward of training: the same probabilities."""
    model = make_model(dtype)
    batch = draw(model, n_prompts=1, n_samples=40, max_tokens=6, seed=5).batch
    again = replayed(model, batch, 5, start=2)
    drawn = batch.loss_mask[:, 1:]
    assert np.array_equal(again[drawn], batch.targets[:, 1:][drawn]) and drawn.sum() > 100
    next(iter(model.parameters())).data[...] *= 1.5
    assert not np.array_equal(replayed(model, batch, 5, start=2)[drawn], batch.targets[:, 1:][drawn])


def test_rewards_belong_to_their_prompts_and_advantages_to_their_answers():
    seen = []
    drawn = draw(tiny_gpt(), 3, 4, reward=lambda i, answer: seen.append((i, answer)) or 10.0 * i + len(answer))
    assert [i for i, _ in seen] == [0] * 4 + [1] * 4 + [2] * 4 and drawn.rewards.shape == (3, 4)
    assert (drawn.rewards // 10 == np.arange(3)[:, None]).all()
    np.testing.assert_allclose(drawn.batch.advantages.reshape(3, 4).sum(axis=1), 0, atol=1e-12)
    for (_, answer), row, mask in zip(seen, drawn.batch.targets, drawn.batch.loss_mask, strict=True):
        tokens = row[mask].tolist()
        assert tokens in (answer, [*answer, END]) and END not in answer


def test_an_end_of_text_counts_if_it_was_drawn():
    """5 tokens at most, or as many as the model has positions for: then none was drawn, and none is learned."""
    for max_tokens, most in ((5, 5), (100, CONFIG.n_positions - 2)):
        drawn = draw(tiny_gpt(), 1, 60, max_tokens=max_tokens, seed=1)
        lengths = drawn.batch.loss_mask.sum(axis=1)
        last = np.array([row[mask][-1] for row, mask in zip(drawn.batch.targets, drawn.batch.loss_mask)])
        assert lengths.max() == most and (last[lengths < most] == END).all()
        assert (last[lengths == most] != END).any()
        assert (drawn.rewards.ravel() == lengths - (last == END)).all()


@pytest.mark.parametrize("n_samples", [1, 0, 2.0, None])
def test_two_answers_are_needed_for_a_baseline(n_samples):
    with pytest.raises(ValueError, match="n_samples was .*; it must be an integer of at least 2"):
        draw(tiny_gpt(), n_samples=n_samples)


@pytest.mark.parametrize("reward", [np.nan, np.inf])
def test_a_reward_that_is_no_number_is_refused(reward):
    with pytest.raises(ValueError, match="a reward was (nan|inf); it must be a finite number"):
        draw(tiny_gpt(), reward=lambda i, answer: reward)


# ---- training


def likes(token):
    return lambda i, answer: sum(t == token for t in answer) / 5


def reinforced(model, **settings):
    """A Trainer whose batches the model draws itself."""

    def sample_batch(generator):
        return draw_episodes(
            model, [np.array([3, 4])], likes(7), n_samples=16, max_tokens=5, end_of_text=END, rng=generator
        ).batch

    return trainer(model, sample_batch=sample_batch, batch_size=16, schedule="constant", warmup=0.0, **settings)


def mean_reward(model):
    return draw(model, 1, 400, reward=likes(7), seed=9).rewards.mean()


RANK_1 = LoRAConfig(rank=1, alpha=2, targets=("q_proj", "v_proj", "fc_in", "fc_out"))


@pytest.mark.parametrize(("method", "lr", "gain"), [("full", 0.03, 0.3), ("lora", 0.03, 0.06)])
def test_the_reward_grows(method, lr, gain):
    """LoRA's rank 1 leaves the head as it is, which sets a limit to what these few channels can prefer."""
    model = tiny_gpt("float32")
    before, frozen = mean_reward(model), weights_of(model)
    if method == "lora":
        apply_lora(model, RANK_1, rng=rng())
    reinforced(model, steps=60, lr=lr).run(progress=False)
    assert mean_reward(model) > before + gain
    if method == "lora":
        after = {name: p for name, p in weights_of(model).items() if not name.endswith((".A", ".B"))}
        assert len(after) == len(frozen) and all(map(same_bits, after.values(), frozen.values()))


def test_an_interrupted_run_ends_as_a_whole_one(tmp_path):
    """The answers depend on the weights and on the generator, which are both in the checkpoint."""
    whole = tiny_lora(dtype="float32")
    expected = reinforced(whole).run(progress=False)
    broken = reinforced(tiny_lora(dtype="float32"), folder=tmp_path, checkpoint_every=3)
    sample, calls = broken.sample_batch, iter(range(5))

    def until_the_power_fails(generator):
        next(calls)  # raises StopIteration in the sixth step
        return sample(generator)

    broken.sample_batch = until_the_power_fails
    with pytest.raises(StopIteration):
        broken.run(progress=False)
    model = tiny_lora(dtype="float32")
    rest = reinforced(model)
    resume_run(rest, tmp_path / CHECKPOINT)
    assert rest.step == 3
    assert rest.run(progress=False).losses == expected.losses
    assert same_bits(weights_of(model), weights_of(whole))


def test_alike_rewards_change_nothing():
    model = tiny_lora(dtype="float32")
    before = weights_of(model)
    batch = draw(model, reward=lambda i, answer: 0.5).batch
    assert isinstance(batch, EpisodeBatch) and not batch.advantages.any()
    run(model, sample_batch=lambda generator: batch, steps=2)
    assert same_bits(weights_of(model), before)
