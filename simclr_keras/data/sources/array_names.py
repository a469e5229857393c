"""Which arrays of an archive are images and labels: x_train, or train_images, X_train, images and the like."""

import re
from collections.abc import Callable, Sequence

from simclr_keras.errors import InputError, one_line, some

# The words in the name of an array, in any case and order: its split ("train" if there is none) and its content.
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val"),
}
_CONTENTS = {
    **dict.fromkeys(("x", "image", "images", "img", "imgs"), "x"),
    **dict.fromkeys(("y", "label", "labels", "target", "targets"), "y"),
}
_CLASS_NAMES = ("class_names", "classes", "label_names", "target_names")


def array_names(
    path: str, names: Sequence[str], lists_names: Callable[[str], bool]
) -> tuple[dict[str, str], list[str]]:
    """Return the names of the arrays to read, by their usual names, and notes about the others.

    The usual names are x_train, y_train, class_names, and x_test and y_test or x_val and y_val. Validation images
    without labels are not used beside training labels.

    Args:
        path: of the archive, for messages. names: of all its arrays.
        lists_names: whether the array of a name can be class names; asked if it is not called class_names.

    Raises:
        InputError: there are no training images, labels have no images, or two arrays are the same thing.
    """
    arrays: dict[str, str] = {}
    for name in names:
        usual = _usual_name(name, lists_names)
        if usual is None or arrays.get(usual) == usual:
            continue
        if usual in arrays and name != usual:
            raise InputError(
                f"{path} has two arrays of {usual}, {arrays[usual]} and {name}: keep one of them"
            )
        arrays[usual] = name
    everything = some([one_line(name, 40) for name in sorted(names)], 12) or "none"
    if "x_train" not in arrays:
        raise InputError(
            f"{path} has no array x_train of training images (or train_images, images). Received: arrays {everything}"
        )
    for split in ("train", "test"):
        if f"y_{split}" in arrays and f"x_{split}" not in arrays:
            name = arrays[f"y_{split}"]
            raise InputError(f"{path} has {name} but no x_{split}: give the images, or drop {name}")
    has_val = "x_val" in arrays and ("y_val" in arrays or "y_train" not in arrays)
    has_better_labels = "y_val" in arrays and "y_test" not in arrays
    is_val_used = has_val and ("x_test" not in arrays or has_better_labels)
    for letter in "xy":
        arrays.pop(f"{letter}_{'test' if is_val_used else 'val'}", None)
    unused = sorted(set(names) - set(arrays.values()))
    notes = [f"arrays of {path} that are not used: {some([one_line(name, 40) for name in unused])}"]
    return arrays, notes if unused else []


def _usual_name(name, lists_names):
    if name == "class_names" or (name.lower() in _CLASS_NAMES and lists_names(name)):
        return "class_names"
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    contents = [_CONTENTS[word] for word in words if word in _CONTENTS]
    splits = [_SPLITS[word] for word in words if word in _SPLITS]
    if len(contents) != 1 or len(splits) > 1 or len(words) != len(contents) + len(splits):
        return None
    return f"{contents[0]}_{splits[0] if splits else 'train'}"
