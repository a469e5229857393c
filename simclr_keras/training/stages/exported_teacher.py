"""An exported SavedModel, of this package or of others, as the teacher of a distillation."""

import dataclasses
import hashlib

import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.export.loading import exported, locate, reusable
from simclr_keras.export.loading.logits import RIGHT, Logits
from simclr_keras.runs.ancestors import TOLD

UNKNOWN = "unknown"


def is_export(path):
    """Whether --teacher names an export rather than a run directory."""
    try:
        return locate.is_hub_handle(path) or locate.is_export(path) or _has_card(path)
    except tf.errors.OpError:  # a place that cannot be looked at, of which whoever reads runs has more to say
        return False


class ExportedTeacher:
    """Stands where an Ancestor stands, without a run behind it: data and settings have to be given.

    Args:
        path: of a SavedModel with logits, or an address of one: a signature `logits`; else a `__call__` that gives a
            dict with logits or logits_sup, or one tensor [n, classes].

    Attributes:
        path: as the user gave it.
        architecture: num_classes; from its card, if there is one, the arguments of `create_model` too.
        image_size: side in pixels that it was trained on; None where there is no telling.
        class_names: tuple of names, or None.
        result: what its card tells of results, or nothing.

    Raises:
        InputError: one line: there is no SavedModel, it cannot be loaded, or has no logits.
    """

    def __init__(self, path):
        self.path = path
        if _has_card(path) and not locate.is_export(path):
            raise InputError(
                f"--teacher={path} is an export without a SavedModel; export its run with --format=saved_model."
            )
        self._folder = locate.find(path, "--teacher")
        self._card = _checked(exported.read_card(self._folder, "teacher"), path)
        self.result = self._card.get("results") or {}
        self.architecture = {**(self._card.get("architecture") or {})}
        self.class_names = exported.read_class_names(self._folder, self._card or None, "teacher")
        if self._card.get("stage") == "pretrain":
            raise InputError(
                f"--teacher={path} is the export of a run of --mode=pretrain, which has no classifier to learn from; "
                f"{RIGHT}."
            )
        self._asked = self._open()
        self.image_size = self._card.get("image_size") or self._asked.fixed_size

    def _open(self):
        return Logits(reusable.load(self._folder, "--teacher", self.path), self._folder, self.path, "teacher")

    def inherit(self, config):
        """Returns the config with what it leaves open taken from the export; asks it about an image.

        Raises:
            InputError: something has to be given, or does not suit the export.
        """
        if config.teacher_checkpoint != "last":
            raise InputError(
                f"--teacher_checkpoint={config.teacher_checkpoint}: {self.path} is an export, which has one set of "
                "weights; leave it out."
            )
        if config.dataset is None:
            raise InputError(
                f"--dataset is missing: --teacher={self.path} is an export, which does not lead to its data; give "
                "--dataset, such as --dataset=folder:photos."
            )
        if config.model is None:
            raise InputError(
                f"--model is missing: --teacher={self.path} does not say which network it is; give the student's, such "
                "as --model=r50_1x_sk0."
            )
        size = config.image_size or self.image_size
        if size is None:
            raise InputError(
                f"--image_size is missing: --teacher={self.path} does not say which size it was trained on; give it."
            )
        if self._asked.fixed_size not in (None, size):
            raise InputError(
                f"--image_size={size}, but --teacher={self.path} takes images of {self._asked.fixed_size}; leave "
                "--image_size out."
            )
        self.architecture["num_classes"] = self._count_classes(size)
        self._asked = None  # it is loaded again where it is to run
        return dataclasses.replace(config, image_size=size)

    def _count_classes(self, size):
        try:
            shape = self._asked(tf.zeros([1, size, size, 3]))["logits"].shape
        except Exception as error:  # of many kinds, by what is in the graph
            raise InputError(
                f"--teacher={self.path} cannot be asked about an image of {size} pixels ({one_line(error)}); give "
                "another --image_size or another --teacher."
            ) from error
        names = self.class_names
        if shape.rank != 2 or (names and len(names) != shape[1]):
            against = f", and names {len(names)} classes" if shape.rank == 2 else ""
            raise InputError(
                f"--teacher={self.path} answers an image with logits of shape {tuple(shape)}{against}; {RIGHT}."
            )
        return shape[1]

    def load(self):
        """Returns the teacher that `Distiller` asks: (images, training=False) -> dict of logits.

        It runs under the strategy in whose scope this was called, and nowhere else.
        """
        return self._open()

    def lineage(self):
        """What a student's result tells: the runs on the card, then the export, all marked as known by that alone."""
        card = self._card
        told = {name: self.result[name] for name in TOLD if name in self.result}
        own = {
            "run": self.path,
            "mode": card.get("stage") or UNKNOWN,
            "dataset": UNKNOWN,
            **told,
            "checkpoint": card.get("checkpoint") or "last",
            "exported_from": card.get("run"),
            "weights": self._fingerprint(),
        }
        return [{**run, "exported": True} for run in [*card.get("ancestors", []), own]]

    def selection(self, config, contents=None):
        """Nothing is known of what it has seen."""
        return {}

    def check_same(self, began_with, model_dir):
        """Raises InputError where the export holds other weights than when a student began.

        Args:
            began_with: the lineage of the student then, or None.
            model_dir: of the student, for the message.
        """
        then = {run.get("run"): run.get("weights") for run in began_with or []}
        if then.get(self.path) not in (None, self._fingerprint()):
            raise InputError(
                f"--teacher={self.path} holds other weights than when --model_dir={model_dir} began from it; give "
                "another --model_dir."
            )

    def _fingerprint(self):
        """The same for the same weights: a checkpoint's index holds the sum of every tensor."""
        index = f"{self._folder}/variables/variables.index"
        graphs = [f"{self._folder}/{name}" for name in locate.GRAPHS]
        file = next(name for name in [index, *graphs] if tf.io.gfile.exists(name))
        with tf.io.gfile.GFile(file, "rb") as opened:
            return hashlib.sha256(opened.read()).hexdigest()[:16]


def _has_card(path):
    return not locate.is_hub_handle(path) and tf.io.gfile.exists(f"{path}/{exported.CARD}")


def _checked(card, path):
    """A card, or an empty one where there is none.

    Raises:
        InputError: what it tells of the network, the run or its ancestors is not what it should be.
    """
    if card is None:
        return {}
    kinds = {"architecture": dict, "results": dict, "ancestors": list, "stage": str, "checkpoint": str}
    wrong = [name for name, kind in kinds.items() if not isinstance(card.get(name), kind | None)]
    if not wrong:
        wrong = [] if _are_runs(card.get("ancestors") or []) else ["ancestors"]
        name, size = ((card.get("architecture") or {}).get(key) for key in ("name", "image_size"))
        if card.get("architecture") and not (isinstance(name, str) and isinstance(size, int)):
            wrong.append("architecture")
        if not isinstance((card.get("results") or {}).get("labels_used"), int | None):
            wrong.append("labels_used")
    if wrong:
        raise InputError(
            f"{path}/{exported.CARD} is damaged ({wrong[0]} is not what it should be); export it anew, or give another "
            "--teacher."
        )
    return card


def _are_runs(ancestors):
    return all(
        isinstance(run, dict)
        and all(isinstance(run.get(key), str) for key in ("run", "dataset", "mode"))
        and isinstance(run.get("labels_used", 0), int | None)
        for run in ancestors
    )
