"""Pictures of pages as small files."""

import io

DPI = 130
COLORS = 128  # of a picture; a smooth scale of colours then has steps that nobody sees


def write_png(figure, path):
    """Write a figure with few colours, so that its file is about a third of what it would be.

    Parameters
    ----------
    figure : Figure
    path : Path

    Returns
    -------
    n : int
        Bytes.
    """
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    picture = Image.open(drawn).convert("RGB")
    ground = picture.getpixel((0, 0))
    few = picture.quantize(COLORS, dither=Image.Dither.NONE)
    palette = few.getpalette()
    n = few.getpixel((0, 0))
    palette[3 * n : 3 * n + 3] = ground  # to the bit, so that no edge is seen on the page
    few.putpalette(palette)
    few.save(path, format="PNG", optimize=True)
    return path.stat().st_size
