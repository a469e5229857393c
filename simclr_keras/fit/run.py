"""`simclr fit`: plan, try, choose, train on all labels, export, and write the page."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable

import tensorflow as tf

from simclr_keras.backend import custom_gradients_freed
from simclr_keras.config.fit import FitConfig
from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.export.card import read_card
from simclr_keras.export.export_folder import check_out
from simclr_keras.fit import judge, plan
from simclr_keras.fit.candidates.distillation import Teacher
from simclr_keras.fit.candidates.listing import list_pieces
from simclr_keras.fit.candidates.pieces import TRAINED_FOLDS, Piece, Workshop
from simclr_keras.fit.candidates.start_network import StartNetwork
from simclr_keras.fit.finish import finish
from simclr_keras.fit.judge import Judged
from simclr_keras.fit.photos import describe, open_photos
from simclr_keras.fit.plan import Plan
from simclr_keras.fit.prepare import make_workshop
from simclr_keras.fit.work_folder import WorkFolder
from simclr_keras.formatting import duration
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.training.engine import signals
from simclr_keras.training.engine.data_recovery import data_failure

# What TensorFlow raises for a file that is missing, closed or damaged, or on a drive that is away.
_UNREADABLE = (
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    tf.errors.DataLossError,
    tf.errors.UnavailableError,
)


def run(config: FitConfig, say: Callable = print) -> dict:
    """Fit with a FitConfig; return the facts on the page.

    Raises:
        InputError: photos, labels, network or folders do not suit.
        TrainingError: a training or the export failed, or photos can no longer be read.
        Stopped: SIGINT or SIGTERM came; finished pieces and checkpoints are saved.
    """
    with signals.listening() as stop, custom_gradients_freed(), _errors_of_tensorflow():
        stop.all_saved("finished pieces are saved")
        start = _start(config)
        check_out(config.out, overwrite=config.overwrite or _is_ours(config))
        photos = open_photos(config, say, start.run.as_ancestors() if start and start.run else ())
        work = WorkFolder(f"{os.path.abspath(config.runs_folder)}/{_fingerprint(config, photos, start)}")
        for line in describe(photos):
            say(f"photos   {line}")
        workshop = make_workshop(config, photos, work, start, say)
        trials = Trials(workshop, work, say)
        trials.run()
        return finish(trials, say)


@contextlib.contextmanager
def _errors_of_tensorflow():
    """Report in one line that memory is full, or that a photo was removed or changed meanwhile."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise TrainingError(
            f"out of memory ({one_line(error)}); give a smaller --model or --image_size, or close other programs and "
            "repeat the command."
        ) from error
    except tf.errors.OpError as error:
        if data_failure(error) is None and not isinstance(error, _UNREADABLE):
            raise
        raise TrainingError(
            f"a photo became unreadable ({one_line(error)}); restore or delete it, then repeat the command: finished "
            "pieces are kept if it is restored."
        ) from error


def _is_ours(config):
    """Return whether the export in --out is of an earlier call of this command."""
    try:
        run = read_card(config.out).get("run")
    except InputError:
        return False
    return bool(run) and os.path.dirname(str(run)) == os.path.abspath(config.runs_folder)


def _start(config):
    if config.init is None:
        return None
    if is_backbone(config.init):
        return StartNetwork(config.init, weights=config.weights_of_backbone)
    return StartNetwork(config.init, config.init)


def _fingerprint(config, photos, start):
    """Return a name for everything that finished pieces depend on."""
    settings = [photos.fingerprint(), photos.class_names, config.init, start and start.fingerprint()]
    settings += [config.model, config.image_size, config.seed]
    # Trainings know photos by these names, also those that they must not open.
    settings += [config.absolute_dataset, os.path.abspath(config.runs_folder), photos.ids, photos.others]
    return hashlib.blake2b(json.dumps(settings).encode(), digest_size=4).hexdigest()


class Trials:
    """The pieces of a fit, one after the other.

    Args:
        workshop: Workshop. work: WorkFolder. say: prints a line.

    Attributes:
        plan: Plan, made again after every piece with the time that it took.
        judged: the Judged candidates, in the order in which they were tried.
        labels: of the labeled photos that are no test images, int [m].
        failed: lines about pieces that could not be tried.
    """

    def __init__(self, workshop: Workshop, work: WorkFolder, say: Callable) -> None:
        self.workshop, self.work, self._say = workshop, work, say
        self.labels = workshop.photos.labels[workshop.photos.labeled]
        self.judged: list[Judged] = []
        self.failed: list[str] = []
        self._pieces = list_pieces(workshop, self._teacher)
        records = {piece.name: work.read(f"piece-{piece.name}") for piece in self._pieces}
        self._records = {name: record for name, record in records.items() if record}
        self.plan: Plan = plan.make_plan(self._pieces, self._spent(), workshop.budget)

    @property
    def best(self) -> Judged:
        """Return the best candidate so far."""
        return judge.choose(self.judged, self.labels)

    def run(self) -> None:
        """Print the plan, and try all pieces of it."""
        for line in self._introduction():
            self._say(line)
        tried: set[str] = set()
        while piece := next((piece for piece in self.plan.pieces if piece.name not in tried), None):
            try:
                self._try(piece)
            except (TrainingError, tf.errors.ResourceExhaustedError) as error:
                self._drop(piece, error)
            tried.add(piece.name)
            self._plan_again()

    def _drop(self, piece, error):
        """Go on without a piece, and without those that need it. The next call tries it again."""
        self.failed.append(f"{piece.title}: {one_line(error)}")
        self._say(f"failed   {self.failed[-1]}")
        if piece.is_baseline and not self.judged:
            raise error
        dropped = {piece.name}
        for other in self._pieces:  # a piece comes after the one that it needs
            if other.after in dropped:
                dropped.add(other.name)
        self._pieces = [other for other in self._pieces if other.name not in dropped]

    def _plan_again(self):
        """Leave out pieces for which there is no time after all, and add others for which there is."""
        before = self.plan
        self.plan = plan.make_plan(self._pieces, self._spent(), self.workshop.budget, before.pieces)
        for piece in self.plan.left_out:
            if piece in before.pieces:
                self._say(f"left out {piece.title}: earlier pieces took longer than planned")
        for piece in self.plan.pieces:
            if piece in before.left_out:
                time_words = f"about {duration(piece.seconds)}"
                self._say(f"added    {piece.title}, {time_words}: earlier pieces took less time than planned")

    def _introduction(self):
        workshop = self.workshop
        for name, speed in workshop.speeds:
            yield (
                f"speed    {name} at {speed.size} px: {1 / speed.forward:.3g} images/s for features, "
                f"{1 / speed.training:.3g} images/s in training"
            )
        yield f"plan     {duration(self.plan.seconds)} of the {duration(workshop.budget)} of --minutes:"
        for line in plan.lines_of(self.plan, self._spent()):
            yield f"       {line}"
        folds = int(workshop.trainings.folds.max()) + 1
        yield (
            f"judging  regressions by cross-validation on {folds} folds of the labeled photos, trainings on "
            f"{min(TRAINED_FOLDS, folds)} of these folds"
        )

    def _spent(self):
        """Return the seconds of the finished pieces by name."""
        return {name: record["seconds"] for name, record in self._records.items()}

    def _try(self, piece: Piece) -> None:
        self._say(f"trying   {piece.title}")
        record, time_words = self._records.get(piece.name), "done earlier"
        if record is None:
            started = time.monotonic()
            if piece.judge is None:
                piece.prepare()
                record = {}
            else:
                scores, record = piece.judge()
                self.work.array(f"judged-{piece.name}", lambda: scores)
            record["seconds"] = time.monotonic() - started
            self.work.write(f"piece-{piece.name}", record)
            self._records[piece.name] = record
            time_words = duration(record["seconds"])
        if piece.judge is None:
            self._say(f"         finished, {time_words}")
            return
        result = judge.judged(piece, record, self.work.stored_array(f"judged-{piece.name}"), self.labels)
        self.judged.append(result)
        self._say(f"         {result.share} of {result.share.total} photos, {time_words}")

    def _teacher(self) -> Teacher:
        """Return the best candidate at the time when the distillation began; with other minutes it begins anew."""
        record = f"teacher-{self.workshop.config.minutes:g}-minutes"
        name = self.work.record(record, lambda: {"name": self.best.piece.name})["name"]
        best = next((result for result in self.judged if result.piece.name == name), None)
        if best is None:  # an earlier version named it otherwise
            best = self.best
            self.work.write(record, {"name": best.piece.name})
        return Teacher(best.piece, best.record)
