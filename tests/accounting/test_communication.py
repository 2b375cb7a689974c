"""What an allreduce sends and how long it takes, against a ring in which every sending is counted."""

import numpy as np
import pytest

from minilora.accounting import ARCHITECTURES, adaptation, message_bytes, ring_bytes, ring_seconds


def ring(messages):
    """The sum of the ranks' messages, as each of them has it after a ring, and the bytes that each has sent."""
    n = len(messages)
    pieces = [np.split(message.copy(), n) for message in messages]
    sent = [0] * n
    for adds in (True, False):  # the pieces are summed, then handed around
        for step in range(n - 1):
            given = [((rank - step + (not adds)) % n, rank) for rank in range(n)]
            copies = [(piece, rank, pieces[rank][piece].copy()) for piece, rank in given]
            for piece, rank, copy in copies:
                sent[rank] += copy.nbytes
                target = pieces[(rank + 1) % n][piece]
                target[...] = target + copy if adds else copy
    return [np.concatenate(own) for own in pieces], sent


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8])
def test_a_ring_gives_all_ranks_the_sum_and_sends_what_the_formula_says(n):
    messages = np.random.default_rng(n).integers(0, 100, (n, 48)).astype(float)
    sums, sent = ring(list(messages))
    assert all((each == messages.sum(axis=0)).all() for each in sums)
    assert sent == [ring_bytes(messages[0].nbytes, n)] * n


def test_more_ranks_send_more_but_never_twice_the_message():
    sent = [ring_bytes(1000, n) for n in (1, 2, 4, 8, 1000)]
    assert sent == [0, 1000, 1500, 1750, 1998]


def test_the_time_is_that_of_all_sendings_one_after_another():
    n, message, latency, bandwidth = 5, 1000, 0.1, 50.0
    assert ring_seconds(message, n, latency=latency, bandwidth=bandwidth) == pytest.approx(
        sum(latency + message / n / bandwidth for _ in range(2 * (n - 1)))
    )
    assert ring_seconds(message, 1, latency=latency, bandwidth=bandwidth) == 0


def test_gpt3_sends_megabytes_with_lora_and_hundreds_of_gigabytes_without():
    gpt3 = ARCHITECTURES["gpt3-175b"]
    lora = adaptation(gpt3, "lora", rank=4, targets=("q_proj", "v_proj")).trainable
    assert lora == 2 * 96 * 4 * 2 * 12288  # two matrices in 96 blocks, r (I + O) each
    assert message_bytes(lora) == 75_497_484 and message_bytes(lora, 2) == 37_748_742
    full = message_bytes(adaptation(gpt3, "full").trainable, 2)
    assert full == 2 * (ARCHITECTURES["gpt3-175b"].n_parameters + 3)
    assert 9_250 < full / message_bytes(lora, 2) < 9_252


@pytest.mark.parametrize("ranks", [0, -1, 1.5])
def test_a_number_of_ranks_below_one_is_refused(ranks):
    with pytest.raises(ValueError, match=f"ranks was {ranks}; it must be an integer of at least 1"):
        ring_bytes(10, ranks)
