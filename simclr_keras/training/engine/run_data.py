"""The data of a run: opened, split, opened again after a failure, and recorded in the run directory."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from simclr_keras.config.base import NEAR_DUPLICATES
from simclr_keras.data.content_hash import is_held_out
from simclr_keras.data.sources import load_dataset
from simclr_keras.data.sources.labels_csv import read_groups
from simclr_keras.data.sources.source import Splits, take_ids
from simclr_keras.errors import InputError, one_line
from simclr_keras.evaluation.near_duplicates import group_images
from simclr_keras.evaluation.simple_features import thumbnails_of
from simclr_keras.files import expand_home
from simclr_keras.formatting import counted
from simclr_keras.runs import run_images
from simclr_keras.runs.ancestors import chose_labels
from simclr_keras.runs.checkpoints import steps_in
from simclr_keras.runs.run_dir import RunDir

MOST_COMPARED = 1_000_000  # images, whose thumbnails take 12 GB


class RunData:
    """The splits that a config names.

    Args:
        config: of the stage. run_dir: of the run.
        inherited_ids: held-out and labeled ids of the runs it starts from, see `ancestors.inherited_ids`.
        say: prints a line.
        split_all: a function of the whole data to Splits, or None if images are held out; None to hold out images.

    Attributes:
        splits: of the run; None before `load`.
        epoch_images: number of images of an epoch when the run began; None before `bind`.
    """

    def __init__(
        self,
        config: Any,
        run_dir: RunDir,
        inherited_ids: dict[str, Any],
        say: Callable = print,
        split_all: Callable[[Splits], Splits | None] | None = None,
    ) -> None:
        self._config = config
        self._run_dir = run_dir
        self._inherited_ids = inherited_ids
        self._say = say
        self._split_all = split_all
        self._whole: Any = None
        self._groups: np.ndarray | None = None
        self._listed: run_images.ImageList | None = None
        self.splits: Splits | None = None
        self.epoch_images: int | None = None

    def load(self, recheck: bool = False) -> None:
        """Open and split the data; `recheck` checks every file again, because one has become unreadable.

        Raises:
            InputError: it is missing, unusable, or not the data that a resumed run began with.
        """
        self.splits = self._whole = None  # there may be no room for both
        config = self._config
        try:
            whole = load_dataset.open_dataset(
                config.dataset,
                data_dir=config.data_dir,
                labels=config.labels,
                unlabeled=config.unlabeled,
                on_bad_image=config.on_bad_image,
                recheck=recheck,
                # The file fitted when the run began.
                may_be_lost=recheck or self._is_resumed,
            )
            self.splits = self._split_all(whole) if self._split_all else None
            if self.splits is None:
                arguments = self._split_arguments(whole)
                self.splits = self._numbered(load_dataset.split_dataset(whole, **arguments), arguments)
        except tf.errors.OpError as error:
            raise InputError(
                f"--dataset={config.dataset} cannot be read ({one_line(error)}); restore the data, then rerun the "
                "command."
            ) from error
        self._whole = whole.train

    def bind(self, resumed: bool, epoch_images: int | None = None) -> None:
        """Record the splits in the run directory or, if `resumed`, compare them with the recorded ones.

        Args:
            resumed: whether the run has a checkpoint.
            epoch_images: number of images of an epoch today; a resumed run keeps the one it began with.

        Raises:
            InputError: a resumed run finds other data than it began with.
        """
        if not resumed:
            ids = dict(self._inherited_ids)
            if self._groups is not None:
                train = set(self.splits.train.ids)
                ids["held_out"] = [name for name in self._whole.ids if name not in train]
            if chose_labels(self._config):
                ids["labeled"] = self._labeled_ids()
            run_images.record_images(self._run_dir, self.splits, self._whole, epoch_images, ids)
            self.epoch_images = epoch_images
            return
        record = run_images.check_images(self._run_dir, self.splits)
        self.epoch_images = record.epoch_images or epoch_images
        evaluation = self.splits.evaluation
        if evaluation is not None and evaluation.num_examples != record.evaluation_images:
            self._say(
                f"data     {counted(evaluation.num_examples, 'evaluation image')}, {record.evaluation_images} when the "
                "run began"
            )
        elif evaluation is not None and run_images.has_other_evaluation(record, self.splits):
            self._say(
                "data     the evaluation images changed since the run began; restore them to compare scores"
            )

    def _find_groups(self, train: Any) -> np.ndarray | None:
        """Return the groups of the images that --group_by keeps together, int [n]; None if there are none.

        Raises:
            InputError: the data is streamed, or there is no such column.
        """
        config, name = self._config, self._config.group_by
        if name is None:
            return None
        if not train.indexed:
            raise InputError(
                f"--group_by={name}: {config.dataset} is streamed, and its images cannot be compared; leave --group_by "
                "out."
            )
        if name == NEAR_DUPLICATES:
            if len(train) > MOST_COMPARED:
                raise InputError(
                    f"--group_by={name} compares every image with every other, at most {MOST_COMPARED:,}, and "
                    f"{config.dataset} has {len(train):,}; leave it out, or group by a column of --labels."
                )
            self._say(f"data     comparing {counted(len(train), 'image')} to find near duplicates")
            groups = group_images(thumbnails_of(train))[0]
        elif config.labels is None:
            raise InputError(
                f"--group_by={name} is neither {NEAR_DUPLICATES} nor a column of --labels, which is missing; give "
                f"--group_by={NEAR_DUPLICATES}, or --labels=labels.csv."
            )
        else:
            groups = read_groups(
                expand_home(config.labels), train.ids, config.dataset.partition(":")[2], name
            )
        sizes = np.bincount(groups)
        self._say(
            f"data     {counted(int(np.sum(sizes > 1)), 'group')} of 2 to {sizes.max()} images by {name}: each is held "
            "out or trained on as a whole"
        )
        return groups

    def _numbered(self, splits: Splits, arguments: dict[str, Any]) -> Splits:
        """Return the splits of a resumed run with the numbers that its training images had when it began."""
        listed = self._listed
        if listed is None:
            return splits
        held_out = {*arguments.get("held_out", ())}
        is_out = [name in held_out for name in listed.ids]
        if splits.held_out is not None and "held_out" not in arguments and listed.hashes is not None:
            fraction = load_dataset.held_out_share(arguments["eval_fraction"])
            is_out = is_held_out(listed.hashes, fraction)
        began_with = itertools.compress(listed.ids, np.logical_not(is_out))
        number_of = {name: number for number, name in enumerate(began_with)}
        train = splits.train.numbered(
            [number_of.setdefault(name, len(number_of)) for name in splits.train.ids]
        )
        return dataclasses.replace(splits, train=train)

    @property
    def _is_resumed(self) -> bool:
        return bool(self._config.trains and steps_in(self._run_dir.checkpoints))

    def _labeled_ids(self) -> list[str]:
        train = self.splits.train
        return list(take_ids(train.ids, np.flatnonzero(train.labels >= 0)))

    def _split_arguments(self, whole: Any) -> dict[str, Any]:
        config, images, self._listed = self._config, None, None
        if whole.evaluation is not None:  # it comes before the images that an earlier run held out
            self._inherited_ids = {
                name: ids for name, ids in self._inherited_ids.items() if name != "held_out"
            }
        ids = self._inherited_ids
        # A resumed run keeps its images, its split and its labels.
        if self._is_resumed:
            record = self._run_dir.read_split()
            ids = record.ids() if record else {}
            listed = run_images.read_images(self._run_dir) if run_images.has_files(whole.train) else None
            if record:
                fraction = load_dataset.held_out_share(config.eval_fraction)
                run_images.check_reading(self._run_dir, record, listed, whole, fraction)
            self._listed = listed
            if listed:
                run_images.check_files(self._run_dir, listed, whole.train)
                images = list(dict.fromkeys([*listed.ids, *ids.get("held_out", ())]))
        if "held_out" not in ids and whole.evaluation is None:
            self._groups = self._find_groups(whole.train)
        arguments = {
            "images": images,
            "groups": self._groups,
            "eval_fraction": config.eval_fraction,
            "label_fraction": config.label_fraction,
            "labels_per_class": config.labels_per_class,
            "seed": config.seed if config.label_seed is None else config.label_seed,
        }
        if "held_out" in ids:
            arguments["eval_fraction"] = None
        if "labeled" in ids:
            arguments |= {"label_fraction": None, "labels_per_class": None}
        return {**arguments, **ids}
