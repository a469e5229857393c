"""Notes for the user about classes that look like a mistake."""

import numpy as np

from simclr_keras.data.sources.source import Splits
from simclr_keras.errors import one_line, some
from simclr_keras.formatting import counted

# What other programs write for a missing value.
_MISSING = {"nan", "na", "n/a", "<na>", "#n/a", "null", "none", "nat"}


def class_notes(splits: Splits) -> list[str]:
    """Return notes about a single class, classes without images, and names that stand for a missing label."""
    names, labels = splits.class_names, splits.train.labels
    if names is None:
        return []
    notes = []
    missing = [name for name in names if name.strip().lower() in _MISSING]
    if missing:
        notes.append(
            f"the class names {some(missing)} often stand for missing labels; if so, leave these labels empty"
        )
    if len(names) == 1:
        notes.append(
            f"there is only one class, {one_line(names[0], 60)}: accuracies mean nothing; label at least two classes"
        )
    if labels is not None and np.any(labels >= 0):
        counts = np.bincount(labels[labels >= 0], minlength=len(names))
        empty = [one_line(name, 60) for name, count in zip(names, counts) if not count]
        if empty:
            hint = "; class numbers count from 0" if names[0] == "0" == empty[0] else ""
            notes.append(
                f"{counted(len(empty), 'class')} of {len(names)} without an image: {some(empty)}{hint}"
            )
    return notes
