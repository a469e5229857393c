"""The end of a fit: the test images, the export of the best candidate, and the page."""

import os
import shlex
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy.special import log_softmax

from simclr_keras.backend import full_float32
from simclr_keras.errors import TrainingError
from simclr_keras.export.write import write_export
from simclr_keras.files import write_file
from simclr_keras.fit import judge, page
from simclr_keras.fit.candidates.distillation import about_network
from simclr_keras.fit.candidates.linear import outputs_of
from simclr_keras.fit.candidates.trainings import ALL
from simclr_keras.formatting import counted

MOST_UNLABELED = 300  # unlabeled photos among which the uncertain ones are looked for
CHECKED = 8  # test images whose files are given to the export
TOLERANCE = 1e-3  # of the largest logit, between the export and the judged network


@full_float32()
def finish(trials, say: Callable) -> dict:
    """Train the best candidate on all labels, export it, and write the page; return the facts on it.

    Args:
        trials: the finished Trials.

    Raises:
        TrainingError: the export cannot be written, or differs from the judged network.
    """
    best, photos, config, work = trials.best, trials.workshop.photos, trials.workshop.config, trials.work
    say(f"best     {best.piece.title}: {best.share} by cross-validation")
    say(f"final    on all {len(trials.labels):,} labels; now, for the first time, the test images")
    test, scores = {}, {}
    for candidate in _compared(trials, best):
        name = candidate.piece.name
        logits = work.array(
            f"test-{name}", lambda candidate=candidate: _of_all(candidate, photos, photos.test)
        )
        scores[name], test[name] = logits, judge.share_of(logits, photos.labels[photos.test])
        say(f"test     {test[name]}  {candidate.piece.title}")
    network, size = best.piece.network(best.record, ALL)
    own, logits = test[best.piece.name], scores[best.piece.name]
    facts = {
        "mode": "fit",
        "finished": True,
        "dataset": config.dataset,
        "top1": own.value,
        "top1_interval": list(own.interval),
        "cross_validated_top1": best.share.value,
        "evaluation_images": own.total,
        "labels_used": len(trials.labels),
        "classes": len(photos.class_names),
        "warnings": list(photos.doubts),
    }
    about = about_network(
        best.piece,
        size,
        list(photos.class_names),
        run=os.path.abspath(work.path),
        results=facts,
        training={"dataset": config.dataset, "seed": config.seed},
    )
    write_export(network, config.out, about, decode_images=True, overwrite=True, say=say)
    difference = _difference(config.out, photos, logits)
    say(f"checked  the export on files of test images: within {difference:.0e} of the judged logits")
    rows = _some_unlabeled(photos, config.seed)
    unlabeled = work.array(f"unlabeled-{best.piece.name}", lambda: outputs_of(network, size, photos, rows))
    verdict = judge.verdict(best, trials.judged, test)
    file = f"{config.out.rstrip('/')}/{page.FILE}"
    write_file(
        file, page.as_html(trials, best, test, logits, verdict, (rows, log_softmax(unlabeled, axis=1)))
    )
    say(f"result   {own} of {counted(own.total, 'test image')}: {best.piece.title}")
    for line in verdict:
        say(f"result   {line}")
    for doubt in photos.doubts:
        say(f"warning  {doubt}")
    say(f"page     {file}")
    say(f"use      simclr predict --model={shlex.quote(config.out)} new_photos/")
    return {**facts, "chosen": best.piece.name, "verdict": verdict, "page": file}


def _compared(trials, best):
    """Return the chosen candidate, the baselines, and the best regression on the features of a network."""
    compared = [
        best,
        *(result for result in trials.judged if result.piece.is_baseline and result is not best),
    ]
    linear = [result for result in trials.judged if "c" in result.record and not result.piece.is_baseline]
    if linear and (best_linear := judge.choose(linear, trials.labels)) is not best:
        compared.append(best_linear)
    return compared


def _difference(folder, photos, logits):
    """Return how far the export is from the judged logits on files of test images, as a share of the largest.

    Raises:
        TrainingError: it is too far.
    """
    rows = photos.test[:CHECKED]
    files = [source.fetch(i) for source in photos.images.rows(rows) for i in range(len(source))]
    signature = tf.saved_model.load(folder).signatures["logits_from_bytes"]
    exported = signature(image_bytes=tf.stack(files))["logits"].numpy()
    expected = logits[: len(rows)]
    difference = float(np.max(np.abs(exported - expected)) / max(np.max(np.abs(expected)), 1e-6))
    if difference > TOLERANCE:
        raise TrainingError(
            f"the export differs from the judged network by {difference:.1e} on test images; do not use it, and report "
            "this."
        )
    return difference


def _of_all(candidate, photos, rows):
    """Return the logits of some photos by a candidate that is trained on all labels."""
    network, size = candidate.piece.network(candidate.record, ALL)
    return outputs_of(network, size, photos, rows)


def _some_unlabeled(photos, seed):
    """Return the rows of some unlabeled photos; of test images, if all other photos are labeled."""
    rows = photos.unlabeled if len(photos.unlabeled) else photos.test
    if len(rows) > MOST_UNLABELED:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_UNLABELED])
    return rows
