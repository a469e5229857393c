"""Which rows to hold out for evaluation and which labels to keep: seeded, class by class."""

import numpy as np

from simclr_keras.errors import InputError

# One stream of random numbers per purpose, so that holding out and labeling do not follow each other.
_HOLD_OUT, _KEEP_LABELS = 0, 1


def held_out_rows(labels, fraction, seed):
    """Rows to hold out, the same share of every class and at least one of each.

    Args:
        labels: int [n]; rows labeled -1 are never held out. All zeros for unlabeled data.
        fraction: Share of every class to hold out, in (0, 1).
        seed: int.

    Returns:
        Sorted rows, int64 [m], and the labels of the classes that have a single row, which stays behind.
    """
    check_eval_fraction(fraction)
    chosen, single = [], []
    for label, rows in _shuffled_classes(labels, seed, _HOLD_OUT):
        if len(rows) == 1:
            single.append(label)
            continue
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        chosen.append(rows[:count])
    return _sorted(chosen), single


def labeled_rows(labels, *, fraction=None, per_class=None, seed=0, class_names=None):
    """Rows whose labels stay visible, the same share or number of every class.

    A larger share holds every row of a smaller one with the same seed.

    Args:
        labels: int [n]; rows labeled -1 are never chosen.
        fraction: Share of every class, in (0, 1], or None.
        per_class: Number of rows of every class, at least 1, or None.
        seed: int.
        class_names: Names for the messages, or None.

    Returns:
        Sorted rows, int64 [m].

    Raises:
        InputError: If not exactly one of the two is given, it is out of range, or a class has too few rows.
    """
    if fraction is None and per_class is None:
        raise InputError("Give label_fraction or labels_per_class")
    check_label_choice(fraction, per_class)
    chosen = []
    for label, rows in _shuffled_classes(labels, seed, _KEEP_LABELS):
        name = f"{label}" if class_names is None else repr(class_names[label])
        if fraction is not None:
            count = round(fraction * len(rows))
            if count < 1:
                raise InputError(
                    f"label_fraction={fraction} leaves class {name} ({len(rows)} training images) without a "
                    "label: take a larger fraction, or labels_per_class"
                )
        else:
            count = per_class
            if count > len(rows):
                raise InputError(
                    f"Class {name} has only {len(rows)} labeled training images: take {len(rows)} or less. "
                    f"Received: labels_per_class={per_class}"
                )
        chosen.append(rows[:count])
    return _sorted(chosen)


def check_eval_fraction(fraction):
    """Refuses a share to hold out that lies outside (0, 1)."""
    if not 0 < fraction < 1:
        raise InputError(f"eval_fraction must lie between 0 and 1. Received: eval_fraction={fraction}")


def check_label_choice(fraction, per_class):
    """Refuses both at once, a fraction outside (0, 1], or less than one label per class."""
    if fraction is not None and per_class is not None:
        raise InputError(
            "Give label_fraction or labels_per_class, not both. "
            f"Received: label_fraction={fraction}, labels_per_class={per_class}"
        )
    if fraction is not None and not 0 < fraction <= 1:
        raise InputError(f"label_fraction must lie in (0, 1]. Received: label_fraction={fraction}")
    if per_class is not None and per_class < 1:
        raise InputError(f"labels_per_class must be at least 1. Received: labels_per_class={per_class}")


def _shuffled_classes(labels, seed, purpose):
    """Yields (label, its rows in seeded order) for every label that occurs, in ascending order."""
    labels = np.asarray(labels)
    order = np.argsort(labels, kind="stable")
    values, starts = np.unique(labels[order], return_index=True)
    for label, rows in zip(values, np.split(order, starts[1:])):
        if label >= 0:
            # A generator per class: adding images to one class does not reshuffle the others.
            yield int(label), np.random.default_rng([seed, purpose, int(label)]).permutation(rows)


def _sorted(chosen):
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)
