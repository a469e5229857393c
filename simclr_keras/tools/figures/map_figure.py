"""The map of all images: PCA or t-SNE of their vectors on a plane, with small pictures among the dots."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from simclr_keras.evaluation.colors import BLUE, GRID
from simclr_keras.evaluation.drawing import hide_frame, new_figure, own_style, set_heading, short

SIDE = 44  # pixels of a picture
# Images: t-SNE takes some minutes for as many, and PCA some GB of memory.
MOST = {"tsne": 5000, "pca": 100_000}
_WIDTH, _HEIGHT = 1120, 900
_MOST_NAMED, _MOST_TRIED = 20, 3000  # classes in the legend; images tried for a free place
_UNLABELED = "#b8bfc8"


def project(features: np.ndarray, method: str, seed: int) -> tuple[np.ndarray, str]:
    """Project vectors, float [n, d], to a plane, float [n, 2] in [0, 1], and describe the method.

    They are scaled to length 1 first, as only directions are compared. The method is "pca" or "tsne"; n is 3 or more.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    pca = PCA(min(50 if method == "tsne" else 2, *unit.shape), random_state=seed)
    with np.errstate(invalid="ignore"):  # the shares are 0 / 0 if all vectors are equal
        points = pca.fit_transform(unit.astype(np.float64))
    shares = np.nan_to_num(pca.explained_variance_ratio_)
    if points.shape[1] == 1:
        points, shares = np.pad(points, [(0, 0), (0, 1)]), np.pad(shares, [0, 1])
    description = f"PCA: {shares[0]:.0%} of the variance across, {shares[1]:.0%} upwards"
    if method == "tsne":
        perplexity = min(30.0, (len(unit) - 1) / 3)
        init = "pca" if np.ptp(points) > 0 else "random"
        tsne = TSNE(2, perplexity=perplexity, init=init, random_state=seed)
        points = tsne.fit_transform(points.astype(np.float32))
        description = (
            f"t-SNE with perplexity {perplexity:.3g}: near points are similar, far distances mean little"
        )
    span = np.ptp(points, axis=0)
    return (points - points.min(axis=0)) / np.where(span > 0, span, 1), description


def choose_pictures(points: np.ndarray, seed: int) -> np.ndarray:
    """Return the rows, int [m], of points [n, 2] in [0, 1] whose pictures do not overlap."""
    reach = (SIDE + 12) / np.array([_WIDTH - 260, _HEIGHT - 140])
    rows = []
    for row in np.random.default_rng(seed).permutation(len(points))[:_MOST_TRIED]:
        if not rows or (np.abs(points[rows] - points[row]) / reach).max(axis=1).min() >= 1:
            rows.append(row)
    return np.array(rows, np.int64)


@own_style()
def map_figure(
    points: np.ndarray,
    rows: Sequence[int],
    pictures: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str] | None,
    title: str,
    description: str,
) -> Figure:
    """Return the map as a Figure.

    Args:
        points: float [n, 2] of `project`. rows: int [m], the images with a picture.
        pictures: uint8 [m, SIDE, SIDE, 3]. labels: int [n], -1 for none. class_names: or None.
        title: model and endpoint. description: of the method.
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    set_heading(figure, f"Map of {len(points):,} images by {short(title, 40, keep_end=True)}", description)
    axes = figure.add_subplot()
    hide_frame(axes)
    axes.spines[:].set(visible=True, color=GRID)
    axes.margins(0.04)
    present = np.unique(labels[labels >= 0])
    palette = colormaps["tab10" if len(present) <= 10 else "tab20"]
    color_of = {label: to_hex(palette(place % palette.N)) for place, label in enumerate(present)}
    colors = [color_of.get(label, _UNLABELED if len(present) else BLUE) for label in labels]
    axes.scatter(*points.T, s=np.clip(4000 / len(points), 6, 30), c=colors, linewidths=0, alpha=0.8)
    for row, picture in zip(rows, pictures):
        frame = {"edgecolor": colors[row], "linewidth": 2}
        image = OffsetImage(picture, zoom=72 / figure.dpi)
        axes.add_artist(AnnotationBbox(image, points[row], pad=0, bboxprops=frame, frameon=True))
    if 0 < len(present) <= _MOST_NAMED:
        names = {color_of[label]: short(class_names[label] if class_names else label) for label in present}
        if (labels < 0).any():
            names[_UNLABELED] = "not labeled"
        # With handles: matplotlib leaves names out that begin with an underscore.
        dots = [axes.scatter([], [], color=color) for color in names]
        figure.legend(dots, names.values(), loc="outside right upper", frameon=False)
    return figure
