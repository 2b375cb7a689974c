"""Generation with a key-value cache gives what the plain forward says, and draws as softmax says."""

import math

import numpy as np
import pytest

from methods.tiny import CONFIG, EVERYWHERE, rng, tiny_gpt, tiny_lora
from minilora.methods import LoRAConfig, merge_lora, set_adapter
from minilora.models.generation import generate
from minilora.models.sampling import Sampling

PROMPTS = [[3], [1, 4, 1, 5, 9], [2, 6], [10, 0, 7]]
LIMIT = CONFIG.n_positions
SEED = 23  # of a model that says several things, as a test below makes sure


@pytest.fixture(scope="module")
def model():
    return tiny_gpt(seed=SEED)


def greedy_without_cache(model, prompt, max_tokens):
    """A full forward for each new token."""
    tokens = list(prompt)
    while len(tokens) < min(len(prompt) + max_tokens, LIMIT):
        logits, _ = model.forward(np.array([tokens]))
        tokens.append(int(logits[0, -1].argmax()))
    return tokens[len(prompt) :]


# ---- greedy


@pytest.mark.parametrize("prompt", PROMPTS, ids=str)
@pytest.mark.parametrize("max_tokens", [1, 3, 100])
def test_greedy_is_the_argmax_of_a_full_forward_at_each_step(model, prompt, max_tokens):
    assert generate(model, [prompt], max_tokens=max_tokens) == [greedy_without_cache(model, prompt, max_tokens)]


def test_the_model_says_several_things(model):
    """Else the tests around this one would pass for a model that repeats one token."""
    assert len({token for tokens in generate(model, PROMPTS, max_tokens=7) for token in tokens}) >= 4


@pytest.mark.parametrize("max_tokens", [1, 2, 100])
def test_prompts_of_different_lengths_give_what_each_gives_alone(model, max_tokens):
    alone = [generate(model, [prompt], max_tokens=max_tokens)[0] for prompt in PROMPTS]
    assert generate(model, PROMPTS, max_tokens=max_tokens) == alone
    assert generate(model, PROMPTS[::-1], max_tokens=max_tokens) == alone[::-1]


def test_a_sequence_ends_at_max_tokens_or_at_n_positions(model):
    lengths = [len(tokens) for tokens in generate(model, PROMPTS, max_tokens=4)]
    assert lengths == [4, LIMIT - 5, 4, 4]
    assert [len(tokens) for tokens in generate(model, [[1] * (LIMIT - 1)], max_tokens=4)] == [1]


def test_a_stop_token_ends_its_sequence_and_is_not_returned(model):
    whole = generate(model, PROMPTS, max_tokens=100)
    for stop in range(CONFIG.vocab_size):
        expected = [tokens[: tokens.index(stop)] if stop in tokens else tokens for tokens in whole]
        assert generate(model, PROMPTS, max_tokens=100, stop=stop) == expected


def test_a_stop_token_in_a_prompt_ends_nothing(model):
    (free,) = generate(model, [[3, 5]], max_tokens=100)
    stop = next(token for token in range(CONFIG.vocab_size) if token not in free)
    assert generate(model, [[stop, 3, 5]], max_tokens=3, stop=stop) == [
        tokens if stop not in tokens else tokens[: tokens.index(stop)]
        for tokens in generate(model, [[stop, 3, 5]], max_tokens=3)
    ]


def test_tokens_are_python_ints_and_prompts_stay_as_they_were(model):
    prompts = [np.array([3, 1]), np.array([2])]
    tokens = generate(model, prompts, max_tokens=2)
    assert {type(token) for row in tokens for token in row} == {int}
    assert [prompt.tolist() for prompt in prompts] == [[3, 1], [2]]


def test_with_lora_merged_and_unmerged_the_tokens_are_the_same():
    adapted = tiny_lora(LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE), seed=SEED)
    unmerged = generate(adapted, PROMPTS, max_tokens=5)
    assert unmerged == [greedy_without_cache(adapted, prompt, 5) for prompt in PROMPTS]
    merge_lora(adapted)
    assert generate(adapted, PROMPTS, max_tokens=5) == unmerged
    assert unmerged != generate(tiny_gpt(seed=SEED), PROMPTS, max_tokens=5)


def test_dropout_does_not_act():
    adapted = tiny_lora(LoRAConfig(rank=2, dropout=0.9), seed=SEED)
    without = tiny_lora(LoRAConfig(rank=2), seed=SEED)
    sampled = [generate(m, PROMPTS, max_tokens=5, temperature=1.0, rng=rng(4)) for m in (adapted, without)]
    assert sampled[0] == sampled[1]
    set_adapter(adapted, None)
    assert generate(adapted, PROMPTS, max_tokens=5) == generate(tiny_gpt(seed=SEED), PROMPTS, max_tokens=5)


# ---- sampling

LOGITS = np.log([0.4, 0.05, 0.25, 0.2, 0.1])
MANY = 20_000


def counts(temperature=1.0, top_k=None, top_p=None, logits=LOGITS):
    """How often each token is drawn in many draws."""
    tokens = Sampling(temperature, top_k, top_p).choose(np.tile(logits, (MANY, 1)), rng(5))
    return np.bincount(tokens, minlength=len(logits))


def is_drawn_from(counts, probs):
    """Pearson's chi-square, below what one fair draw in ten thousand exceeds with four degrees of freedom."""
    expected = MANY * np.array(probs)
    possible = expected > 0
    return not counts[~possible].any() and ((counts - expected)[possible] ** 2 / expected[possible]).sum() < 23.5


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tokens_are_drawn_as_softmax_says(temperature):
    probs = np.exp(LOGITS / temperature)
    assert is_drawn_from(counts(temperature), probs / probs.sum())
    assert is_drawn_from(counts(temperature, logits=LOGITS + 1000.0), probs / probs.sum())


def test_the_bound_tells_distributions_apart():
    assert not is_drawn_from(counts(1.1), np.exp(LOGITS))


@pytest.mark.parametrize(
    ("limits", "probs"),
    [
        ({"top_k": 3}, np.array([0.4, 0, 0.25, 0.2, 0]) / 0.85),
        ({"top_k": 5}, [0.4, 0.05, 0.25, 0.2, 0.1]),
        ({"top_k": 99}, [0.4, 0.05, 0.25, 0.2, 0.1]),
        ({"top_p": 0.5}, np.array([0.4, 0, 0.25, 0, 0]) / 0.65),
        ({"top_p": 0.7}, np.array([0.4, 0, 0.25, 0.2, 0]) / 0.85),
        ({"top_p": 1.0}, [0.4, 0.05, 0.25, 0.2, 0.1]),
        ({"top_k": 2, "top_p": 0.7}, np.array([0.4, 0, 0.25, 0, 0]) / 0.65),
        ({"top_k": 2, "top_p": 0.6}, [1.0, 0, 0, 0, 0]),
    ],
    ids=str,
)
def test_top_k_and_top_p_leave_the_likeliest_in_their_proportions(limits, probs):
    """With both, p is a part of what k leaves: 0.4 / 0.65 = 0.62."""
    assert is_drawn_from(counts(**limits), probs)


@pytest.mark.parametrize("limits", [{"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-6}], ids=str)
def test_at_the_limit_drawing_is_greedy(model, limits):
    drawn = generate(model, PROMPTS, max_tokens=6, **({"temperature": 2.0} | limits), rng=rng(6))
    assert drawn == generate(model, PROMPTS, max_tokens=6)


def test_the_same_seed_draws_the_same_tokens_and_another_seed_others(model):
    def draw(seed):
        return generate(model, PROMPTS, max_tokens=6, temperature=1.5, top_k=9, top_p=0.95, rng=rng(seed))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_each_row_draws_for_itself():
    rows = Sampling(1.0).choose(np.zeros((50, 11)), rng())
    assert len(set(rows.tolist())) > 5


def test_greedy_draws_nothing(model):
    generator = rng(3)
    generate(model, PROMPTS, max_tokens=3, rng=generator)
    assert generator.bit_generator.state == rng(3).bit_generator.state


# ---- errors


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        ([], {}, "prompts was empty; there must be at least one"),
        ([[1], []], {}, r"a prompt had shape \(0,\); it must have 1 to 7 tokens"),
        ([[1] * 8], {}, r"a prompt had shape \(8,\); it must have 1 to 7 tokens"),
        ([[[1, 2]]], {}, r"a prompt had shape \(1, 2\); "),
        ([1, 2], {}, r"a prompt had shape \(\); "),
        ([[1, 11]], {}, "a prompt ran from id 1 to 11; each must be from 0 to 10"),
        ([[-1, 3]], {}, "a prompt ran from id -1 to 3; each must be from 0 to 10"),
        ([[1.5, 2.5]], {}, "a prompt "),
        ([[1]], {"max_tokens": 0}, "max_tokens was 0; it must be an integer of at least 1"),
        ([[1]], {"max_tokens": 1.5}, "max_tokens was 1.5"),
        ([[1]], {"temperature": -0.5}, r"temperature was -0\.5; it must be 0 \(greedy\) or a finite number above"),
        ([[1]], {"temperature": math.nan, "rng": rng()}, "temperature was nan"),
        (
            [[1]],
            {"temperature": 1.0},
            r"rng was None; to draw tokens \(temperature > 0\) it must be a numpy.random.Generator",
        ),
        ([[1]], {"temperature": 1.0, "rng": 0}, "rng was 0; to draw tokens .* it must be a numpy.random.Generator"),
        ([[1]], {"top_k": True}, "top_k was True; it must be an integer"),
        ([[1]], {"temperature": "1"}, "temperature was '1'; it must be"),
        ([[1]], {"top_k": 5}, "temperature was 0, which draws nothing; for top_k and top_p it must be above 0"),
        ([[1]], {"top_k": 0}, "top_k was 0; it must be an integer of at least 1"),
        ([[1]], {"top_p": 0.0}, r"top_p was 0\.0; it must be 0 < top_p <= 1"),
        ([[1]], {"top_p": 1.5}, r"top_p was 1\.5; it must be 0 < top_p <= 1"),
    ],
)
def test_what_cannot_be_generated_is_refused_by_name(model, prompts, settings, message):
    with pytest.raises(ValueError, match=message):
        generate(model, prompts, **({"max_tokens": 2} | settings))
