"""What a figure looks like once it is a PNG."""

import io

import numpy as np
from PIL import Image

from simclr_keras.evaluation.plots import save_figure


def pixels_of(figure):
    """uint8 [height, width, 3] of the PNG that save_figure writes."""
    png = io.BytesIO()
    save_figure(figure, png)
    return np.asarray(Image.open(png).convert("RGB"))


def panel(figure, picture, axes):
    """The pixels of `picture` inside `axes`."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = axes.get_position().extents * [width, height, width, height]
    left, right, top, bottom = (round(v) for v in (x0, x1, height - y1, height - y0))
    return picture[top:bottom, left:right]


def texts(figure):
    """All that is written on it outside its axes."""
    return [text.get_text() for text in figure.texts]
