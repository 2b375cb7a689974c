"""figures/lora.png and its twin for dark pages; ``make pages`` draws them.

python docs/lora_picture.py
"""

from pathlib import Path

from minilora import plots

FIGURES = Path(__file__).resolve().parent.parent / "figures"


if __name__ == "__main__":
    for name, dark in {"lora.png": False, "lora-dark.png": True}.items():
        with plots.figure_style(dark=dark):
            plots.save(plots.lora_picture(), FIGURES / name)
