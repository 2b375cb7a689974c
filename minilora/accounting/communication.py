"""What data-parallel training sends: bytes and seconds of one step's allreduce.

n ranks each have a message of S bytes, and all need the sum. In a ring, each rank cuts its message into n pieces, and
n - 1 times sends one piece to its neighbour, which adds it to its own: then each rank holds one piece of the sum. These
are passed around in n - 1 further sends. For each rank, that is

    2 (n - 1) sends of S / n bytes, 2 (n - 1) / n S bytes together: less than 2 S, however many ranks there are.

No method needs fewer (Patarasuk and Yuan, 2009). With a latency of alpha seconds per send and a bandwidth of
beta bytes per second, nothing overlapping, it takes

    2 (n - 1) (alpha + S / (n beta)).

For small messages the latency dominates, and MPI then uses an algorithm with fewer sends, 2 log2(n), or log2(n) with
more bytes: there, the formula is an upper bound.
"""

BESIDE_GRADIENTS = 3  # values: the loss, whether to stop, and how many gradients are missing (training/bucket.py)


def message_bytes(trainable: int, bytes_each: int = 4) -> int:
    """The bytes that each rank contributes to the sum in a step.

    Parameters
    ----------
    trainable : int
        How many parameters are trained.
    bytes_each : int
        4 for float32, 2 for float16.
    """
    return (trainable + BESIDE_GRADIENTS) * bytes_each


def ring_bytes(message: int, ranks: int) -> float:
    """The bytes that each of n ranks sends, and receives, when a message is summed in a ring: 2 (n - 1) / n of it."""
    if not isinstance(ranks, int) or ranks < 1:
        raise ValueError(f"ranks was {ranks!r}; it must be an integer of at least 1")
    return 2 * (ranks - 1) * message / ranks


def ring_seconds(message: int, ranks: int, *, latency: float, bandwidth: float) -> float:
    """The seconds that such a sum takes.

    Parameters
    ----------
    message : int
        Bytes.
    ranks : int
    latency : float
        Seconds per send.
    bandwidth : float
        Bytes per second that a rank sends, while receiving at the same rate.
    """
    return 2 * (ranks - 1) * latency + ring_bytes(message, ranks) / bandwidth
