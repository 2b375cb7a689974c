"""Pictures that can be read from the back of a classroom, in grey, and by the colour-blind.

Each function takes NumPy arrays and returns a Figure; `save` writes it. Figures are made without pyplot, so that
nothing has to be closed, no window opens, and a notebook (after ``%matplotlib inline``) shows each of them once.
"""

from minilora.plots.analysis import amplification_bars, similarity_grid, similarity_heatmap, singular_values
from minilora.plots.bench import bench_memory, bench_ratios, bench_scaling, ladder, overheads
from minilora.plots.curves import curves
from minilora.plots.picture import lora_picture
from minilora.plots.rank import (
    directions_bars,
    error_against_parameters,
    low_rank_images,
    rank_picture,
    spectrum_cut,
    word_image,
)
from minilora.plots.scores import parameters_against_score, scores
from minilora.plots.style import save
from minilora.plots.training import loss_curves

__all__ = [
    "amplification_bars",
    "bench_memory",
    "bench_ratios",
    "bench_scaling",
    "curves",
    "directions_bars",
    "error_against_parameters",
    "ladder",
    "lora_picture",
    "loss_curves",
    "low_rank_images",
    "overheads",
    "parameters_against_score",
    "rank_picture",
    "save",
    "scores",
    "similarity_grid",
    "similarity_heatmap",
    "singular_values",
    "spectrum_cut",
    "word_image",
]
