"""The pictures of runs, by one import: view pairs, curves, confusions; `save_figure` writes any of them."""

from simclr_keras.evaluation.drawing import png_bytes, save_figure
from simclr_keras.evaluation.figures.confusion_plot import confusion_figure
from simclr_keras.evaluation.figures.curves_plot import curves_figure
from simclr_keras.evaluation.figures.view_pairs_plot import view_pairs_figure

__all__ = ["confusion_figure", "curves_figure", "png_bytes", "save_figure", "view_pairs_figure"]
