"""The picture at the start of a pretraining: pairs of views as the network sees them."""

import math

import numpy as np

from simclr_keras.errors import InputError
from simclr_keras.evaluation.drawing import CARD, HAIR, MUTED, PixelBoxes, new_figure, shorten


def view_pairs_figure(views, titles=None, *, max_pairs=16):
    """A grid of image pairs, view 1 above view 2, each pair on a card of its own.

    Small views are enlarged by a whole number, every pixel a square; views above 256 px are reduced.

    Args:
        views: floats in [0, 1], [n, 2, S, S, 3]; values outside are clipped.
        titles: n strings written above the pairs (class names, ids), or None.
        max_pairs: pairs drawn at most, the first ones.

    Returns:
        A matplotlib Figure; its axes are view 1 and view 2 of pair 0, then of pair 1, and so on.
    """
    views = np.asarray(views)
    if views.ndim != 5 or views.shape[1] != 2 or views.shape[2] != views.shape[3] or views.shape[4] != 3:
        raise InputError(f"views must be [n, 2, S, S, 3]. Received: shape {views.shape}")
    if not len(views):
        raise InputError("there is no view pair to draw")
    if titles is not None and len(titles) != len(views):
        raise InputError(f"titles must be one per pair. Received: {len(titles)} for {len(views)} pairs")
    views = views[:max_pairs]

    size = views.shape[2]
    side = size * max(1, round(128 / size)) if size <= 256 else 224
    pad, seam, gap, left, right = 8, 4, 14, 74, 22
    title_height = 24 if titles is not None else 0
    columns = min(8, len(views))
    rows = math.ceil(len(views) / columns)
    card_width, card_height = side + 2 * pad, 2 * side + seam + 2 * pad + title_height
    top, bottom = 64, 22
    width = max(left + columns * (card_width + gap) - gap + right, 540)
    height = top + rows * (card_height + gap) - gap + bottom

    figure = new_figure(width, height)
    box = PixelBoxes(figure, width, height)
    box.text(left, 26, "View pairs", size=14, weight="bold")
    box.text(left, 48, "two random views of each image, which training pulls together", color=MUTED)
    for pair, two_views in enumerate(views):
        row, column = divmod(pair, columns)
        x, y = left + column * (card_width + gap), top + row * (card_height + gap)
        figure.add_artist(box.rectangle(x, y, card_width, card_height, color=CARD))
        if titles is not None:
            shorten(box.text(x + pad, y + 19, str(titles[pair]), parse_math=False), side)
        for i, view in enumerate(two_views):
            view_y = y + title_height + pad + i * (side + seam)
            # A hair narrower: matplotlib before 3.11 draws 129 pixels where 128 come out as 128.00000000000006.
            axes = figure.add_axes(
                box.bounds(x + pad + HAIR, view_y + HAIR, side - 2 * HAIR, side - 2 * HAIR)
            )
            axes.set_axis_off()
            # float32 first: bfloat16 and float64 views both end as what the screen shows.
            pixels = np.clip(np.asarray(view, np.float32), 0.0, 1.0)
            axes.imshow(pixels, interpolation="nearest" if side >= size else "auto", aspect="auto")
            if column == 0:
                box.text(left - 12, view_y + side / 2 + 4, f"view {i + 1}", ha="right", color=MUTED)
    return figure
