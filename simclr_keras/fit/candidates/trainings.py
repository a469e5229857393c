"""Trainings of fit: runs of the stages on the photos that may be trained on, each in a run directory."""

import csv
import importlib
import io
import re
import time
import unicodedata
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from simclr_keras.config import recipes
from simclr_keras.config.fit import FitConfig
from simclr_keras.config.modes import make_config
from simclr_keras.data.sources.layout import UNUSED
from simclr_keras.files import cannot_write, read_file, write_file
from simclr_keras.fit.photos import Photos
from simclr_keras.fit.work_folder import WorkFolder

NOTHING = 1e-12  # share of the images that a training on all labels holds out
SILENT_SECONDS = 30  # between two lines of a training that are printed
ALL: Literal["all"] = "all"
Part = int | Literal["all"]


class Trainings:
    """Runs of the stages; an interrupted one continues, a finished one is not run again.

    Args:
        config: FitConfig. photos: Photos. work: WorkFolder.
        folds: of the labeled photos that are no test images, int [m].
        say: prints a line.
    """

    def __init__(
        self, config: FitConfig, photos: Photos, work: WorkFolder, folds: np.ndarray, say: Callable = print
    ) -> None:
        self._config, self._photos, self._work, self._say = config, photos, work, say
        self.folds = folds

    def run(self, name: str, mode: str, recipe: str, part: Part, settings: dict[str, Any]) -> str:
        """Run a stage on all labels, or without those of a fold; return its run directory.

        Args:
            name: of the training. mode, recipe: of the stage. settings: beside the recipe.
            part: "all", or the number of the fold.
        """
        flags = {
            "dataset": self._config.absolute_dataset,
            "labels": self.labels_file(part),
            "model_dir": self.path(name, part),
            "seed": self._config.seed,
            "eval_fraction": None if part != ALL else NOTHING,
            "strategy": "one",  # TensorFlow cannot tell apart the replicas of several runs of a process
            **settings,
        }
        config = make_config(mode, recipes.recipe(recipe, mode), flags)
        importlib.import_module(config.MODULE).run(config, _Log(self._work.log(f"{name}-{part}"), self._say))
        return config.model_dir

    def path(self, name: str, part: Part) -> str:
        """Return the run directory of a training, finished or not."""
        return self._work.training(f"{name}-{part}")

    def training_rows(self, part: Part) -> np.ndarray:
        """Return the rows of the labeled photos that a training learns from."""
        labeled = self._photos.labeled
        return labeled if part == ALL else labeled[self.folds != part]

    def rows_of_fold(self, fold: int) -> np.ndarray:
        """Return the rows of the photos in a fold."""
        return self._photos.labeled[self.folds == fold]

    def labels_file(self, part: Part) -> str:
        """Return the path of the CSV file that gives a training its images; it is written if it is missing.

        Training images have the split train, those of the fold val. Test images have the split unused: no training
        opens them.
        """
        path = f"{self._work.path}/labels/{part}.csv"
        if read_file(path) is None:
            write_file(path, self._labels(part))
        return path

    def _labels(self, part):
        photos, text = self._photos, io.StringIO()
        names, splits = _written_names(photos.class_names), np.full(len(photos.ids), "train", object)
        splits[photos.is_test | photos.is_left_out] = UNUSED
        if part != ALL:
            splits[self.rows_of_fold(part)] = "val"
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["filename", "label", "split"])
        for name, label, split in zip(photos.ids, photos.labels, splits):
            writer.writerow([name, names[label] if label >= 0 else "", split])
        writer.writerows([name, "", UNUSED] for name in photos.others)
        return text.getvalue()


def _written_names(names):
    """Return the names of the classes as a CSV file is read back in the same order, else their numbers."""
    spelled = [unicodedata.normalize("NFC", name) for name in names]
    plain = [name for name in names if not re.fullmatch(r"\s.*|.*\s|[+-]?[0-9.]*", name)]
    if list(names) == sorted(names) and len({*spelled}) == len(names) and len(plain) == len(names):
        return list(names)
    return [str(number) for number in range(len(names))]


class _Log:
    """Write the lines of a training to a file, and print one of its epochs now and then."""

    def __init__(self, path, say):
        self._path, self._say, self._printed_at = path, say, time.monotonic()

    def __call__(self, line):
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise cannot_write(self._path, error) from error
        if str(line).startswith("epoch") and time.monotonic() - self._printed_at >= SILENT_SECONDS:
            self._printed_at = time.monotonic()
            self._say(f"           {line}")
