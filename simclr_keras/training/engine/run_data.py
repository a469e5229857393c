"""The data of a run: opened, split, opened again after a failure, and recorded in the run directory."""

from collections.abc import Callable, Sequence
from typing import Any

from simclr_keras.data.sources import load_dataset
from simclr_keras.data.sources.source import Splits
from simclr_keras.runs import run_images
from simclr_keras.runs.checkpoints import steps_in
from simclr_keras.runs.run_dir import RunDir


class RunData:
    """The splits that a config names.

    Args:
        config: of the stage. run_dir: of the run.
        old_split: held-out and labeled ids of an old run, see `ancestors.old_split`; empty if images are held out by
            content.
        say: prints a line.

    Attributes:
        splits: of the run; None before `load`.
        epoch_images: number of images of an epoch when the run began; None before `bind`.
    """

    def __init__(
        self, config: Any, run_dir: RunDir, old_split: dict[str, Any], say: Callable = print
    ) -> None:
        self._config = config
        self._run_dir = run_dir
        self._old_split = old_split
        self._say = say
        self._images: Sequence[str] = ()
        self.splits: Splits | None = None
        self.epoch_images: int | None = None

    def load(self, recheck: bool = False) -> None:
        """Open and split the data.

        Args:
            recheck: whether to check every file again, because one has become unreadable.

        Raises:
            InputError: it is missing, unusable, or not the data that a resumed run began with.
        """
        self.splits = None  # there may be no room for both
        config = self._config
        whole = load_dataset.open_dataset(
            config.dataset,
            data_dir=config.data_dir,
            labels=config.labels,
            on_bad_image=config.on_bad_image,
            recheck=recheck,
        )
        self._images = whole.train.ids
        self.splits = load_dataset.split_dataset(whole, **self._split_arguments())

    def bind(self, resumed: bool, epoch_images: int | None = None) -> None:
        """Record the splits in the run directory or, if `resumed`, compare them with the recorded ones.

        Args:
            resumed: whether the run has a checkpoint.
            epoch_images: number of images of an epoch today; a resumed run keeps the one it began with.

        Raises:
            InputError: a resumed run finds other data than it began with.
        """
        if resumed:
            self.epoch_images = (
                run_images.check_images(self._run_dir, self.splits).epoch_images or epoch_images
            )
            return
        run_images.record_images(self._run_dir, self.splits, self._images, epoch_images, self._old_split)
        self.epoch_images = epoch_images

    def _split_arguments(self) -> dict[str, Any]:
        config, old_split, images = self._config, self._old_split, None
        if steps_in(self._run_dir.checkpoints):  # a resumed run keeps its images and its split
            images = run_images.read_images(self._run_dir)
            record = self._run_dir.read_split()
            old_split = record.old_split() if record else {}
            if images and old_split:
                images = list(dict.fromkeys([*images, *old_split["held_out"]]))
        arguments = {
            "images": images,
            "eval_fraction": config.eval_fraction,
            "label_fraction": config.label_fraction,
            "labels_per_class": config.labels_per_class,
            "seed": config.seed if config.label_seed is None else config.label_seed,
        }
        if old_split:
            arguments["eval_fraction"] = None
        if old_split.get("labeled") is not None:
            arguments |= {"label_fraction": None, "labels_per_class": None}
        return {**arguments, **old_split}
