"""What an accuracy can be judged by: simple baselines, near duplicates, and cross-validation if few are held out."""

import numpy as np

from simclr_keras.errors import InputError, one_line
from simclr_keras.evaluation.features import knn_bank
from simclr_keras.evaluation.metrics import accuracy, accuracy_interval
from simclr_keras.evaluation.near_duplicates import group_images
from simclr_keras.evaluation.simple_features import color_histograms, raw_pixels, thumbnails_of
from simclr_keras.formatting import counted
from simclr_keras.runs.run_images import has_files

FEW = 50  # held-out labeled images, below which all labeled images are cross-validated
MOST_LABELED = 2000  # labeled images that are compared or cross-validated: seconds of work
MOST_COMPARED = 5000  # images of each side that are searched for near duplicates
PIXEL_SIDE = 16


def simple_baselines(train, evaluation, num_classes: int) -> dict[str, float]:
    """Return top-1 of logistic regression on color histograms and on raw pixels.

    Args:
        train: Source of the training images, of which at most MOST_LABELED labeled ones are used.
        evaluation: Source of the evaluation images; num_classes: of both.

    Returns:
        dict of color_histogram_logistic_top1 and raw_pixels_logistic_top1; empty for a stream.
    """
    from simclr_keras.evaluation.linear_probe import logistic_probe  # slow to import

    if not (train.indexed and evaluation.indexed):
        return {}
    train = knn_bank(train, MOST_LABELED, 0)

    def top1(features, side):
        arrays = (features(thumbnails_of(source, side)) for source in (train, evaluation))
        fit, test = arrays
        return logistic_probe(fit, train.labels, test, evaluation.labels, num_classes=num_classes).top1

    return {
        "color_histogram_logistic_top1": top1(color_histograms, 64),
        "raw_pixels_logistic_top1": top1(raw_pixels, PIXEL_SIDE),
    }


def cross_validated(extract, train, evaluation, num_classes: int) -> dict:
    """Return the cross-validated accuracy of logistic regression, if fewer than FEW labeled images are held out.

    Near duplicates stay in one fold. The network must have seen no labels of these images.

    Args:
        extract: function of a Source to the features [n, d] of its n images.
        train: Source of the training images. evaluation: of the labeled images that are held out, or None.
        num_classes: of both.

    Returns:
        dict of cross_validated_top1, ..._balanced_accuracy, ..._interval and ..._images; empty if enough images are
        held out, for a stream, or if too few are labeled.
    """
    from simclr_keras.evaluation.cross_validation import cross_validate  # slow to import

    parts = [knn_bank(train, MOST_LABELED, 0)] if train.indexed and train.has_labels else []
    parts += [] if evaluation is None else [evaluation]
    if not (train.indexed and train.has_labels) or (evaluation is not None and len(evaluation) >= FEW):
        return {}
    if not any(map(len, parts)):  # all labels are those of images that no stage opens
        return {}
    labels = np.concatenate([part.labels for part in parts])
    groups, _ = group_images(np.concatenate([thumbnails_of(part) for part in parts]))
    features = np.concatenate([extract(part) for part in parts if len(part)])
    try:
        result = cross_validate(features, labels, groups, num_classes=num_classes, c=1.0)
    except InputError:  # labels of one class, or one group per class
        return {}
    scores = accuracy(result.scores, result.labels)
    return {
        "cross_validated_top1": scores.top1,
        "cross_validated_balanced_accuracy": scores.balanced_accuracy,
        "cross_validated_interval": list(accuracy_interval(round(scores.top1 * scores.total), scores.total)),
        "cross_validated_images": scores.total,
    }


def near_duplicates(train, evaluation) -> tuple[int, list[str]]:
    """Return how many evaluation images have near duplicates among the training images, and a warning if any has.

    Image files are compared, at most MOST_COMPARED of each side, evenly spaced.

    Args:
        train, evaluation: Sources, or None.
    """
    if not (train and evaluation and train.indexed and evaluation.indexed and has_files(train)):
        return 0, []
    train, evaluation = (_spaced(source) for source in (train, evaluation))
    groups, _ = group_images(np.concatenate([thumbnails_of(train), thumbnails_of(evaluation)]))
    of_train, of_evaluation = np.split(groups, [len(train)])
    rows = np.flatnonzero(np.isin(of_evaluation, of_train))
    if not len(rows):
        return 0, []
    twin = train.ids[int(np.argmax(of_train == of_evaluation[rows[0]]))]
    return len(rows), [
        f"{counted(len(rows), 'image')} of the {len(evaluation):,} that are evaluated on have near duplicates among "
        f"the training images, such as {one_line(evaluation.ids[int(rows[0])], 80)} and {one_line(twin, 80)}: the "
        "accuracy on new images may be lower; --group_by=near_duplicates in every stage keeps them on one side"
    ]


def _spaced(source):
    if len(source) <= MOST_COMPARED:
        return source
    return source.subset(np.linspace(0, len(source) - 1, MOST_COMPARED).astype(np.int64))


def say_simple_baselines(result: dict, say) -> None:
    """Print the simple baselines and the cross-validated accuracy of a result, if it has any."""
    if "color_histogram_logistic_top1" in result:
        say(
            f"baseline color histograms {result['color_histogram_logistic_top1']:.1%}, raw pixels "
            f"{result['raw_pixels_logistic_top1']:.1%} by logistic regression on the same images"
        )
    if "cross_validated_top1" in result:
        low, high = result["cross_validated_interval"]
        say(
            f"top-1    {result['cross_validated_top1']:.1%} (95 % interval {low:.1%} to {high:.1%}) by "
            f"cross-validation on {counted(result['cross_validated_images'], 'labeled image')}: logistic regression "
            "on the features, before they saw labels"
        )
