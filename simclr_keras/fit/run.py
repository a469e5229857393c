"""`simclr fit`: plan, try, choose, train on all labels, export, and write the page."""

import hashlib
import json
import os
import time

import numpy as np
import tensorflow as tf

from simclr_keras.backend import custom_gradients_freed
from simclr_keras.config.fit import FitConfig
from simclr_keras.errors import InputError, TrainingError
from simclr_keras.export.card import read_card
from simclr_keras.export.export_folder import check_out
from simclr_keras.export.write import write_export
from simclr_keras.files import write_file
from simclr_keras.fit import judge, page, photos, plan
from simclr_keras.fit.candidates import color_piece, list_pieces
from simclr_keras.fit.distillation import Teacher, about_network
from simclr_keras.fit.linear import CS, FOLDS, Linear, View, outputs_of
from simclr_keras.fit.pieces import Workshop, log_softmax
from simclr_keras.fit.speeds import Speed, measure
from simclr_keras.fit.start_network import open_start
from simclr_keras.fit.trainings import ALL, Trainings
from simclr_keras.fit.work_folder import WorkFolder
from simclr_keras.formatting import counted, duration
from simclr_keras.preprocess import decode

SIZE = 96  # pixels of the images of networks with random weights
MOST_UNLABELED = 300  # unlabeled photos among which the uncertain ones are looked for
SIZED = 50  # photos whose size is read
SLACK = 1.25  # a piece is left out if the time would exceed the plan by more
CHECKED = 8  # test images whose files are given to the export


def run(config: FitConfig, say=print) -> dict:
    """Fit with a FitConfig; return what the page says, as a dict.

    Raises:
        InputError: photos, labels or folders do not suit. TrainingError: a training or the export failed.
    """
    with custom_gradients_freed():
        return Fit(config, say).run()


class Fit:
    """One execution of fit."""

    def __init__(self, config: FitConfig, say) -> None:
        self.config, self.say = config, say
        self.start = open_start(config)
        check_out(config.out, overwrite=config.overwrite or self._is_ours())
        self.photos = photos.open_photos(config, say)
        self.work = WorkFolder(f"{config.runs_folder}/{self._fingerprint()}")
        self.labels = self.photos.labels[self.photos.labeled]
        self.judged: list[judge.Judged] = []

    def run(self) -> dict:
        """Do what is missing; return the facts on the page."""
        self.say(
            f"         {len(self.photos.class_names)} classes: "
            + ", ".join(self.photos.class_names[:8])
            + (", ..." if len(self.photos.class_names) > 8 else "")
        )
        for line in photos.describe(self.photos):
            self.say(f"         {line}")
        self.workshop = self._workshop()
        pieces = list_pieces(self.workshop, self._teacher)
        self.plan = plan.make_plan(pieces, self._spent(pieces), self.workshop.budget)
        self._say_plan(pieces)
        self._try_all()
        candidates = self.judged
        best = judge.choose(candidates, self.labels)
        self.say(f"best     {best.piece.title}: {best.share} by cross-validation")
        self.say(
            f"final    training on all {len(self.labels):,} labels, and on the test images the first look"
        )
        facts = self._finish(best)
        return facts

    # The preparation.

    def _is_ours(self):
        """Return whether the export in --out is of an earlier call of this command."""
        try:
            run = read_card(self.config.out).get("run")
        except InputError:
            return False
        return bool(run) and os.path.dirname(str(run)) == os.path.abspath(self.config.runs_folder)

    def _fingerprint(self):
        """Return a name for everything that the finished pieces depend on."""
        config = self.config
        settings = [self.photos.fingerprint(), self.photos.class_names, config.init, config.backbone_weights]
        settings += [config.model, config.image_size, config.seed]
        return hashlib.blake2b(json.dumps(settings).encode(), digest_size=4).hexdigest()

    def _workshop(self):
        config, photos, work = self.config, self.photos, self.work
        native = work.record("native_size", lambda: {"pixels": self._native_size()})["pixels"]
        size = config.image_size or min(SIZE, native)
        sizes = self.start.sizes(native, config.image_size) if self.start else ()
        rows = np.sort(np.concatenate([photos.labeled, photos.test]))
        linear = Linear(photos, work, config.seed, rows)
        colors = View(size, has_colors=True)
        started = time.monotonic()
        folds = work.array("folds", lambda: linear.folds(colors))

        def speeds():
            self.say("measure  the speed of this machine, on a few images")
            begun = time.monotonic()
            linear.folds(colors)
            fit = (time.monotonic() - begun) / (FOLDS * len(photos.labeled) * 512)
            speed = measure(photos, size, config.model)
            start = measure(photos, sizes[0], config.model, self.start) if self.start else None
            return {"fit": fit, "model": vars(speed), "start": vars(start) if start else None}

        measured = work.record("speeds", speeds)
        self.preparation = time.monotonic() - started
        start_speed = Speed(**measured["start"]) if measured["start"] else None
        trainings = Trainings(config, photos, work, folds, self.say)
        speed = Speed(**measured["model"])
        return Workshop(
            config, photos, linear, trainings, size, speed, self.start, sizes, start_speed, measured["fit"]
        )

    def _native_size(self):
        """Return the side in pixels that most photos have at least."""
        (source, *_) = self.photos.images.rows(self.photos.labeled[:SIZED])
        encoded = tf.data.Dataset.range(len(source)).map(source.fetch)
        sides = [min(image.shape[:2]) for image in encoded.map(decode).as_numpy_iterator()]
        return max(int(np.percentile(sides, 25)), 8)

    def _spent(self, pieces):
        records = {piece.name: self.work.read(f"piece-{piece.name}") for piece in pieces}
        return {name: record["seconds"] for name, record in records.items() if record}

    def _say_plan(self, pieces):
        workshop, spent = self.workshop, self._spent(pieces)
        speed, start = workshop.speed, workshop.start_speed
        if start:
            self.say(
                f"speed    {self.start.name} at {start.size} px: {1 / start.forward:.1f} images/s for features, "
                f"{1 / start.training:.1f} images/s in training"
            )
        self.say(
            f"speed    {self.config.model} at {speed.size} px: {1 / speed.forward:.0f} images/s for features, "
            f"{1 / speed.training:.0f} images/s in training"
        )
        self.say(
            f"plan     {duration(self.plan.seconds)} of the {duration(workshop.budget)} that --minutes gives. Regressions "
            f"are judged by cross-validation on {counted(int(workshop.trainings.folds.max()) + 1, 'fold')} of the labeled "
            "photos, trainings on the first 2 of these; a candidate is compared with the best on the photos of both"
        )
        for line in plan.lines_of(self.plan, spent):
            self.say(f"       {line}")

    # The trials.

    def _try_all(self):
        budget, begun, lost = self.workshop.budget, time.monotonic(), 0.0
        spent = self._spent(self.plan.pieces)
        before = sum(spent.values())
        missing: set[str] = set()
        for piece in list(self.plan.pieces):
            used = before + time.monotonic() - begun
            late = (
                piece.name not in spent
                and len(self.judged) > 1
                and used + piece.seconds > SLACK * budget + lost
            )
            if late or (piece.after in missing):
                missing.add(piece.name)
                self.plan.pieces.remove(piece)
                self.plan.left_out.append(piece)
                self.say(f"left out {piece.title}: this machine is slower than when it was measured")
                continue
            self._try(piece)

    def _try(self, piece):
        name = f"piece-{piece.name}"
        if piece.judge is None:
            if self.work.read(name) is None:
                self.say(f"trying   {piece.title}")
                started = time.monotonic()
                piece.prepare()
                self.work.write(name, {"seconds": time.monotonic() - started})
            return
        record = self.work.read(name)
        is_new = record is None
        if is_new:
            self.say(f"trying   {piece.title}")
            started = time.monotonic()
            scores, record = piece.judge()
            self.work.array(f"judged-{piece.name}", lambda: scores)
            record = {**record, "seconds": time.monotonic() - started}
            self.work.write(name, record)
        scores = self.work.array(f"judged-{piece.name}", lambda: scores)
        result = judge.judged(piece, record, scores, self.labels)
        self.judged.append(result)
        self.say(
            f"         {result.share} of {result.share.total} photos"
            + (f", in {duration(record['seconds'])}" if is_new else f": {piece.title} (finished earlier)")
        )

    def _teacher(self):
        """Return the best candidate so far, fixed when the distillation begins."""
        name = self.work.record(
            "teacher", lambda: {"name": judge.choose(self.judged, self.labels).piece.name}
        )["name"]
        best = next(candidate for candidate in self.judged if candidate.piece.name == name)
        return Teacher(best.piece, best.record)

    # The end.

    def _finish(self, best):
        photos, config = self.photos, self.config
        compared = self._compared(best)
        test, scores, network, size = {}, {}, None, 0
        for candidate in compared:
            made, side = candidate.piece.network(candidate.record, ALL)
            key = candidate.piece.name
            scores[key] = self.work.array(
                f"test-{key}", lambda made=made, side=side: outputs_of(made, side, photos, photos.test)
            )
            test[key] = judge.share_of(scores[key], photos.labels[photos.test])
            self.say(f"test     {test[key]}  {candidate.piece.title}")
            if candidate is best:
                network, size = made, side
        own = test[best.piece.name]
        facts = {
            "mode": "fit",
            "finished": True,
            "dataset": config.dataset,
            "top1": own.value,
            "top1_interval": list(own.interval),
            "evaluation_images": own.total,
            "labels_used": len(self.labels),
            "classes": len(photos.class_names),
            "cross_validated_top1": best.share.value,
        }
        about = about_network(
            best.piece,
            size,
            list(photos.class_names),
            run=os.path.abspath(self.work.path),
            results=facts,
            training={"dataset": config.dataset, "seed": config.seed},
        )
        write_export(network, config.out, about, decode_images=True, overwrite=True, say=self.say)
        self._check_export(scores[best.piece.name])
        verdict = judge.verdict(best, self.judged, test)
        file = f"{config.out.rstrip('/')}/{page.FILE}"
        write_file(
            file,
            page.as_html(self, best, test, scores[best.piece.name], verdict, self._unlabeled(network, size)),
        )
        for line in verdict:
            self.say(f"result   {line}")
        self.say(f"result   {own} of {own.total} test images: {best.piece.title}")
        self.say(f"page     {file}")
        self.say(f"use      simclr predict --model={config.out} new_photos/")
        return {**facts, "chosen": best.piece.name, "verdict": verdict, "page": file}

    def _compared(self, best):
        """Return the chosen candidate, the baselines, and the best regression on features of a network."""
        compared = [best, *(c for c in self.judged if c.piece.is_baseline and c is not best)]
        linear = [c for c in self.judged if "c" in c.record and not c.piece.is_baseline]
        if linear:
            linear = judge.choose(linear, self.labels)
            compared += [linear] * (linear is not best)
        return compared

    def _check_export(self, scores):
        """Raise TrainingError unless the export gives the judged logits for files of test images."""
        photos = self.photos
        rows = photos.test[:CHECKED]
        sources = photos.images.rows(rows)
        files = tf.concat([[source.fetch(i) for i in range(len(source))] for source in sources], 0)
        exported = tf.saved_model.load(self.config.out).signatures["logits_from_bytes"](image_bytes=files)[
            "logits"
        ]
        expected = scores[: len(rows)]
        difference = float(np.max(np.abs(exported - expected)) / max(np.max(np.abs(expected)), 1e-6))
        if difference > 1e-3:
            raise TrainingError(
                f"the export differs from the judged network by {difference:.1e} on test images; do not use it, and "
                "report this."
            )
        self.say(
            f"checked  the export on {counted(len(rows), 'file')} of test images: within {difference:.0e} of the judged logits"
        )

    def _unlabeled(self, network, size):
        """Return (rows of some unlabeled photos, their log-probabilities)."""
        photos = self.photos
        rows = photos.unlabeled
        if len(rows) > MOST_UNLABELED:
            rows = np.sort(np.random.default_rng(self.config.seed).permutation(rows)[:MOST_UNLABELED])
        if not len(rows):
            return rows, np.zeros([0, len(photos.class_names)])
        logits = self.work.array(
            f"unlabeled-{self._name_of(network)}", lambda: outputs_of(network, size, photos, rows)
        )
        return rows, log_softmax(logits)

    def _name_of(self, network):
        best = judge.choose(self.judged, self.labels)
        return best.piece.name
