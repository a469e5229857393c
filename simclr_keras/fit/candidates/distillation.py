"""The distillation of the best candidate into a small network, on all photos but the test images."""

import os
from collections.abc import Callable
from typing import NamedTuple

from simclr_keras.export.write import write_export
from simclr_keras.fit.candidates.pieces import Piece, Workshop
from simclr_keras.fit.speeds import Speed


class Teacher(NamedTuple):
    """A candidate and the record of its cross-validation."""

    piece: Piece
    record: dict


def distillation(workshop: Workshop, best: Callable[[], Teacher]) -> Piece:
    """Return the piece that distills the best candidate into --model."""
    model, speed = workshop.config.model, workshop.speed
    size = workshop.sizes[-1] if workshop.start else workshop.size
    teacher_speed = workshop.start_speed or speed

    def settings(part):
        return {
            "teacher": teacher_export(workshop, best(), part),
            "model": model,
            "batch_size": min(64, workshop.images),
        }

    return workshop.training_piece(
        f"distilled-within-{workshop.config.minutes:g}-minutes",  # more minutes may have a better teacher
        f"distilling the best of these into {model}, on all photos",
        "distill",
        "photos_distill",
        settings,
        Speed(size, speed.forward_at(size), speed.training * (size / speed.size) ** 2, speed.start),
        "training",
        epochs=(5, 60),
        images=workshop.images,
        extra=teacher_speed.forward_at(size),
    )


def teacher_export(workshop: Workshop, teacher: Teacher, part) -> str:
    """Return the folder of a candidate, trained on a part of the labels, as a SavedModel; written if it is missing."""
    folder = workshop.trainings.path(f"teacher-{teacher.piece.name}", part)
    if not os.path.exists(folder):
        network, size = teacher.piece.network(teacher.record, part)
        # Without names of classes: those in the CSV files of trainings may be numbers.
        about = about_network(teacher.piece, size, None)
        write_export(network, folder, about, say=lambda line: None)
    return folder


def about_network(piece: Piece, size: int, class_names: list[str] | None, **facts) -> dict:
    """Return the description of a network for the card of its export, see `card.make_card`."""
    return {
        "architecture": {"name": piece.title, "image_size": size},
        "image_size": size,
        "antialias": False,
        "class_names": class_names,
        "stage": "fit",
        "run": None,
        "checkpoint": None,
        "step": None,
        "results": None,
        "training": {},
        "history": [],
        "ancestors": [],
        "license": None,
        "weight_decay": 0.0,
        **facts,
    }
