"""Pictures that can be read from the back of a classroom, in greyscale, and by colour-blind readers.

Each function takes NumPy arrays and returns a Figure; `save` writes it. Figures are made without pyplot, so that
nothing has to be closed, no window opens, and a notebook (after ``%matplotlib inline``) shows each figure once.
"""

from minilora.plots.analysis import amplification_bars, similarity_grid, similarity_heatmap, singular_values
from minilora.plots.bench import bench_memory, bench_ratios, bench_scaling, ladder, overheads, stacked
from minilora.plots.graph import Node, value_graph
from minilora.plots.labels import caption, typeset
from minilora.plots.llama import head_groups, rotations
from minilora.plots.low_rank import low_rank, ranks, word_image
from minilora.plots.matrices import matrices
from minilora.plots.picture import lora_picture
from minilora.plots.rank import arrows, circle_and_image, elimination, spectrum_cut
from minilora.plots.scores import by_seed, parameters_against_score, scores
from minilora.plots.seed_curves import seed_curves
from minilora.plots.small_multiples import small_multiples
from minilora.plots.style import figure_style, looks, save
from minilora.plots.subspace import overlap, two_lines
from minilora.plots.teaching import attention_map, bars, curves, marked_text, timings, word_grid
from minilora.plots.training import loss_curves
from minilora.plots.transformer import gpt_picture
from minilora.plots.widgets import sliders

__all__ = [
    "Node",
    "value_graph",
    "typeset",
    "stacked",
    "looks",
    "figure_style",
    "caption",
    "amplification_bars",
    "arrows",
    "attention_map",
    "bars",
    "bench_memory",
    "bench_ratios",
    "bench_scaling",
    "by_seed",
    "circle_and_image",
    "curves",
    "elimination",
    "gpt_picture",
    "head_groups",
    "ladder",
    "lora_picture",
    "loss_curves",
    "low_rank",
    "marked_text",
    "matrices",
    "overheads",
    "overlap",
    "parameters_against_score",
    "ranks",
    "rotations",
    "save",
    "scores",
    "seed_curves",
    "similarity_grid",
    "similarity_heatmap",
    "singular_values",
    "sliders",
    "small_multiples",
    "spectrum_cut",
    "timings",
    "two_lines",
    "word_grid",
    "word_image",
]
