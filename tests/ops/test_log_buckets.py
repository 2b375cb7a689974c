import pytest

from minilora.ops.fast import log_bucket, relative_rows

SETTINGS = [(256, 512), (32, 128), (10, 512), (8, 20), (7, 12), (5, 9), (4, 8), (2, 3)]


def bucket_by_counting(distance, n_buckets, max_distance):
    """The same in whole numbers: the first b with ((D - 1) / mid)^b >= (|d| / mid)^(mid - 1), beyond mid."""
    mid, size = n_buckets // 2, abs(distance)
    if size <= mid:
        return distance
    b = 0
    while (max_distance - 1) ** b * mid ** (mid - 1) < size ** (mid - 1) * mid**b:
        b += 1
    return (mid + b) * (1 if distance > 0 else -1)


@pytest.mark.parametrize(("n_buckets", "max_distance"), SETTINGS)
def test_every_distance_falls_into_the_bucket_that_counting_finds(n_buckets, max_distance):
    for distance in range(-2 * max_distance, 2 * max_distance + 1):
        expected = bucket_by_counting(distance, n_buckets, max_distance)
        assert log_bucket(distance, n_buckets, max_distance) == expected, distance


def test_buckets_widen():
    buckets = [log_bucket(d, n_buckets=8, max_distance=32) for d in range(33)]
    assert [buckets.count(b) for b in range(8)] == [1, 1, 1, 1, 1, 3, 8, 16]
    assert buckets == sorted(buckets)


@pytest.mark.parametrize(("n_buckets", "max_distance"), SETTINGS)
def test_rows_are_those_of_the_buckets_and_lie_in_the_table(n_buckets, max_distance):
    T = 2 * max_distance
    rows = relative_rows(T, n_buckets, max_distance)
    assert len(rows) == 2 * T + 1
    assert rows[T] == n_buckets
    assert rows == sorted(rows)
    assert rows[0] >= 0 and rows[-1] < 2 * n_buckets
    for distance in range(-n_buckets // 2, n_buckets // 2):
        assert rows[T + distance] == n_buckets + distance


def test_in_deberta_v2_all_512_rows_are_used():
    assert set(relative_rows(600, n_buckets=256, max_distance=512)) == set(range(512))
