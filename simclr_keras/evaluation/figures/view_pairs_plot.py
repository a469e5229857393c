"""The figure at the start of pretraining: pairs of views as the network sees them."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from simclr_keras.errors import InputError
from simclr_keras.evaluation.drawing import hide_frame, new_figure, own_style, set_heading, short

_COLUMNS, _SIDE = 8, 140  # pairs in a row; pixels of a view


@own_style()
def view_pairs_figure(views: np.ndarray, titles: Sequence | None = None, *, max_pairs: int = 16) -> Figure:
    """Return a grid of image pairs, view 1 above view 2.

    Args:
        views: floats in [0, 1], [n, 2, S, S, 3]; values outside are clipped.
        titles: n strings to write above the pairs (class names, ids), or None.
        max_pairs: how many pairs to draw, the first ones.

    Returns:
        A Figure with one axes per pair.

    Raises:
        InputError: the views have another shape, there are none, or not one title for each.
    """
    views = np.asarray(views)
    if views.ndim != 5 or views.shape[1] != 2 or views.shape[2] != views.shape[3] or views.shape[4] != 3:
        raise InputError(f"views must be [n, 2, S, S, 3]. Received: shape {views.shape}")
    if not len(views):
        raise InputError("there is no view pair to draw")
    if titles is not None and len(titles) != len(views):
        raise InputError(f"titles must be one per pair. Received: {len(titles)} for {len(views)} pairs")
    # float32 first: matplotlib does not know bfloat16.
    views = np.clip(views[:max_pairs].astype(np.float32), 0.0, 1.0)

    columns = min(_COLUMNS, len(views))
    rows = math.ceil(len(views) / columns)
    figure = new_figure(max(columns * (_SIDE + 24), 480), rows * (2 * _SIDE + 44) + 70)
    set_heading(figure, "View pairs", "two random views of each image, one above the other")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        hide_frame(axes)
    seam = np.ones((max(1, views.shape[2] // 32), views.shape[3], 3), np.float32)
    for pair, (axes, (view1, view2)) in enumerate(zip(grid.flat, views)):
        axes.imshow(np.concatenate([view1, seam, view2]))
        if titles is not None:
            axes.set_title(short(titles[pair]), fontsize=9, loc="left")
    return figure
