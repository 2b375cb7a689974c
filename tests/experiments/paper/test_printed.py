"""What the paper prints beside our numbers agrees with itself."""

from statistics import mean

import pytest

from experiments.paper.made_up import spread
from minilora.experiments.paper import glue, table1, table7


@pytest.mark.parametrize("row", glue.ROWS, ids=str)
def test_the_printed_average_is_that_of_the_eight_tasks(row):
    assert len(row.scores) == len(glue.TASKS)
    assert mean(row.scores) == pytest.approx(float(row.average), abs=0.051)


def test_beside_ours_stands_the_smaller_adapter_and_the_run_with_the_papers_own_settings():
    assert glue.average("RoBERTa base", "Adapter^D") == "84.4" and glue.average("RoBERTa large", "Adapter^H") == "86.4"
    assert glue.average("RoBERTa large", "LoRA") == "89.0" and glue.average("DeBERTa XXL", "LoRA") == "91.3"
    assert glue.average("RoBERTa large", "PiSSA") == "-"


def test_the_papers_percents_of_latency_are_those_of_its_milliseconds():
    times = {name: [float(cell.split()[0]) for cell in cells] for name, cells in table1.PAPER_MS.items()}
    base = times["fine-tuned, or LoRA merged"]
    for label, percents in table1.PAPER.items():
        for column, percent in enumerate(percents):
            if percent is not None:
                above = 100 * (times[label.split(",")[0]][column] / base[column] - 1)
                assert above == pytest.approx(percent, abs=0.06), (label, column)


def test_table_7_divides_the_norms_and_the_projections_seed_by_seed():
    row = {"norm_delta": spread(4.0, 1.0), "norm_W": spread(8.0, 0.0), "delta": spread(0.6, 0.2)}
    assert table7.size_and_direction(row | {"random_expected": 0.2}) == ("0.50 ± 0.12", "3.0 ± 1.0")
