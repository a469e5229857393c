"""An exported SavedModel, of this package or of others, as the teacher of a distillation."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from simclr_keras.errors import InputError, one_line, some
from simclr_keras.export.export_folder import CARD
from simclr_keras.export.loading.find_saved_model import is_hub_handle, is_saved_model
from simclr_keras.export.loading.loaded_model import LoadedModel, load_saved_model
from simclr_keras.runs.ancestors import UNKNOWN
from simclr_keras.runs.architecture import Architecture
from simclr_keras.runs.records import RecordError, ResultRecord

REMEDY = "give the export of a fine-tuned, supervised or distilled run"


def is_export(path: str) -> bool:
    """Return whether --teacher is an export rather than a run directory."""
    try:
        return is_hub_handle(path) or is_saved_model(path) or _has_card(path)
    except tf.errors.OpError:  # unreadable; the reader of run directories explains that better
        return False


class ExportedTeacher:
    """The interface of an OpenRun for a LoadedModel: the distill stage needs its classes, size and lineage.

    Args:
        path: of a SavedModel with logits, or an address of one. They are the signature `logits`; else what `__call__`
            returns: logits or logits_sup of a dict, or one tensor [n, classes].

    Attributes:
        path: as the user gave it.
        architecture: an Architecture, of which only num_classes is known without a card.
        image_size: side in pixels of the images it was trained on, or None if unknown.
        eval_antialias: whether its evaluation images were antialiased when they shrank.
        class_names: tuple of names, or None.
        result: a ResultRecord of the results on its card; empty without a card.

    Raises:
        InputError: there is no SavedModel, it cannot be loaded, or has no logits.
    """

    def __init__(self, path: str):
        self.path = path
        if _has_card(path) and not is_saved_model(path):
            raise InputError(
                f"--teacher={path} is an export without a SavedModel; export its run with --format=saved_model."
            )
        self._model = self._load()
        self._card = self._model.card
        try:
            results, earlier = self._card.get("results") or {}, self._card.get("ancestors") or []
            self.result = ResultRecord.from_json({**results, "ancestors": earlier})
        except RecordError as error:
            raise InputError(
                f"{path}/{CARD} is damaged ({error}); export the run again, or give another --teacher."
            ) from error
        fields = {field.name for field in dataclasses.fields(Architecture)}
        architecture = self._card.get("architecture") or {
            "name": "",
            "image_size": 0,
        }  # another program's network
        self.architecture = Architecture(**{n: value for n, value in architecture.items() if n in fields})
        self.class_names = self._model.class_names
        self.image_size, self.eval_antialias = self._model.image_size, self._model.antialias
        self._fingerprint = self._model.fingerprint
        if self._card.get("stage") == "pretrain":
            raise InputError(
                f"--teacher={path} is the export of a run of --mode=pretrain, which has no classifier; {REMEDY}."
            )
        if self._model.find_logits() is None:
            names = some([*self._model.endpoints]) or "none that takes images"
            raise InputError(f"--teacher={path} has no logits. Its endpoints: {names}; {REMEDY}.")

    def _load(self) -> LoadedModel:
        return load_saved_model(self.path, "--teacher")

    def inherit(self, config):
        """Return the config with missing settings taken from the export; compute logits of one image.

        Raises:
            InputError: a setting is missing, or does not suit the export.
        """
        if config.teacher_checkpoint != "last":
            raise InputError(
                f"--teacher_checkpoint={config.teacher_checkpoint}: {self.path} is an export, which has one set of "
                "weights; leave it out."
            )
        if config.dataset is None:
            raise InputError(
                f"--dataset is missing: --teacher={self.path} is an export, which does not contain its data; give "
                "--dataset, such as --dataset=folder:photos."
            )
        if config.model is None:
            raise InputError(
                f"--model is missing: the network of --teacher={self.path} is unknown; give the student's, such "
                "as --model=r50_1x_sk0."
            )
        size = config.image_size or self.image_size
        if size is None:
            raise InputError(
                f"--image_size is missing: the size that --teacher={self.path} was trained on is unknown; give it."
            )
        if self._model.fixed_size not in (None, size):
            raise InputError(
                f"--image_size={size}, but --teacher={self.path} takes images of {self._model.fixed_size}; leave "
                "--image_size out."
            )
        self.architecture = dataclasses.replace(self.architecture, num_classes=self._count_classes(size))
        self._model = None  # `load` loads it again under its strategy
        antialias = self.eval_antialias if config.eval_antialias is None else config.eval_antialias
        return dataclasses.replace(config, image_size=size, eval_antialias=antialias)

    def _count_classes(self, size):
        try:
            shape = _logits_of(self._model)(tf.zeros([1, size, size, 3]))["logits"].shape
        except Exception as error:  # of many kinds, depending on the graph
            raise InputError(
                f"--teacher={self.path} fails on an image of {size} pixels ({one_line(error)}); give "
                "another --image_size or another --teacher."
            ) from error
        names = self.class_names
        if shape.rank != 2 or (names and len(names) != shape[1]):
            classes = f", but {len(names)} class names" if shape.rank == 2 else ""
            raise InputError(
                f"--teacher={self.path} returns logits of shape {tuple(shape)} for one image{classes}; {REMEDY}."
            )
        return shape[1]

    def load(self) -> Callable:
        """Return the teacher that `Distiller` calls: (images, training=False) -> dict of logits.

        It runs only under the strategy in whose scope this is called.
        """
        return _logits_of(self._load())

    def as_ancestors(self) -> list[dict]:
        """Return the runs on the card, then the export, for the result of a student."""
        card = self._card
        own = {
            "run": self.path,
            "mode": card.get("stage") or UNKNOWN,
            "dataset": UNKNOWN,
            **self.result.inherited(),
            "checkpoint": card.get("checkpoint") or "last",
            "exported_from": card.get("run"),
            "weights": self._fingerprint,
        }
        return [{**run, "exported": True} for run in [*self.result.ancestors, own]]

    def check_same(self, began_with: list[dict] | None, model_dir: str) -> None:
        """Raise InputError if the export has other weights than in the lineage that a student began with."""
        weights = {run.get("run"): run.get("weights") for run in began_with or []}
        if weights.get(self.path) not in (None, self._fingerprint):
            raise InputError(
                f"--teacher={self.path} has changed since --model_dir={model_dir} began: its weights differ; give "
                "another --model_dir."
            )


def _logits_of(model):
    endpoint = model.find_logits()
    return lambda images, training=False: {"logits": model(images, endpoint)}


def _has_card(path):
    return not is_hub_handle(path) and tf.io.gfile.exists(f"{path}/{CARD}")
