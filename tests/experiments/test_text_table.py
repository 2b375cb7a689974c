from minilora.experiments.text_table import aligned


def test_tables_are_aligned():
    rows = [("", "n", "score"), ("LoRA", "1,024", "9.5"), ("full fine-tuning", "7", "10.25")]
    assert aligned(rows) == [
        "                      n  score",
        "------------------------------",
        "LoRA              1,024    9.5",
        "full fine-tuning      7  10.25",
    ]


def test_an_empty_cell_at_the_end_leaves_no_blanks():
    assert aligned([("a", "b", "c"), ("1", "2", "")]) == ["a  b  c", "-------", "1  2"]
