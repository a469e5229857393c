"""Which sub-folders of an image folder are its splits, and which are its classes."""

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Sequence

from simclr_keras.errors import InputError, one_line, some
from simclr_keras.formatting import counted

# In any case; of several evaluation folders the first in this order that has labels is used.
TRAINING_FOLDERS = ("train", "training")
EVALUATION_FOLDERS = ("val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation")
UNUSED = "unused"  # the split of images that no run uses
_DATE = re.compile(r"(19|20)\d\d([-_.]?\d\d){0,2}")


@dataclasses.dataclass
class Part:
    """One split: image paths relative to the root, their class names or None, and the folder."""

    images: list[str]
    classes: list[str] | None
    folder: str


def read_layout(
    path: str, images: Sequence[str], notes: list[str], unlabeled: bool = False
) -> dict[str, Part]:
    """Return the parts "train" and, if the folder has splits, "evaluation".

    Args:
        path: of the folder, for messages. images: paths relative to it, sorted. notes: for the user, added to.
        unlabeled: whether the other sub-folders are no classes.

    Raises:
        InputError: all sub-folders have names of splits, but they are not two splits; or the splits' classes differ.
    """
    training, evaluations = _split_folders(images)
    if training is None or not evaluations:
        tops = _tops(images)
        # A folder with a single split, such as test/.
        prefix = f"{tops[0]}/" if len(tops) == 1 and _names_a_split(tops[0]) else ""
        if prefix:
            _note_loose(path, images, notes)
        if len(tops) > 1 and not unlabeled and all(map(_names_a_split, tops)):
            raise InputError(
                f"{path}: the sub-folders {some(tops)} have names of splits, not of classes: name the training images' "
                "folder train/, or give --unlabeled"
            )
        return {"train": _part(path, images, prefix, notes, unlabeled)}
    _note_loose(path, images, notes)
    train = _part(path, images, f"{training}/", notes, unlabeled)
    more = {name: [] for name in evaluations}  # notes
    candidates = {
        name: _part(path, images, f"{name}/", more[name], unlabeled, train.classes) for name in evaluations
    }
    labeled = [name for name, part in candidates.items() if part.classes]
    if train.classes and not labeled:
        notes.append(f"{path}: not used, as they have no class sub-folders: {_named(evaluations)}")
        return {"train": train}
    evaluation = (labeled or evaluations)[0]
    notes += more[evaluation]
    _note_unused(path, images, (training, evaluation), notes)
    _check_classes(path, train, candidates[evaluation], evaluation)
    return {"train": train, "evaluation": candidates[evaluation]}


def read_layout_of_labeled(
    path: str, images: Sequence[str], notes: list[str], is_labeled: Callable[[str], bool]
) -> dict[str, Part]:
    """Return the parts of a folder whose labels are in a CSV file; their `classes` are None.

    An evaluation folder without labels is no split: its images are unlabeled training images.
    """
    training, evaluations = _split_folders(images)
    labeled = [name for name in evaluations if any(is_labeled(image) for image in _below(images, name))]
    if training is None or not labeled:
        return {"train": Part(list(images), None, path)}
    _note_loose(path, images, notes)
    _note_unused(path, images, (training, labeled[0]), notes)
    folders = {"train": training, "evaluation": labeled[0]}
    return {name: Part(_below(images, top), None, f"{path}/{top}") for name, top in folders.items()}


def read_split_column(
    path: str,
    images: Sequence[str],
    splits: Sequence[str],
    notes: list[str],
    is_labeled: Callable[[str], bool],
) -> dict[str, Part]:
    """Return the parts of a folder whose labels and splits are in a CSV file; their `classes` are None.

    The first evaluation split that has labels is used, in the order of EVALUATION_FOLDERS. If none has labels, all
    images are training images. Images of the split UNUSED are never used.

    Args:
        path, images, notes: as in `read_layout`.
        splits: n names of splits in lower case, "" for unlabeled training images.
        is_labeled: whether an image has a label.

    Raises:
        InputError: there are no training images.
    """
    if unused := sum(split == UNUSED for split in splits):
        images = [image for image, split in zip(images, splits) if split != UNUSED]
        splits = [split for split in splits if split != UNUSED]
        notes.append(
            f"{counted(unused, 'image')} of the split {UNUSED} {'is' if unused == 1 else 'are'} not used"
        )
        if not images:
            raise InputError(
                f"{path}: all images have the split {UNUSED}: give the training images the split train"
            )
    labeled = {split for image, split in zip(images, splits) if split and is_labeled(image)}
    evaluation = next((word for word in EVALUATION_FOLDERS if word in labeled), None)
    if evaluation is None:
        return {"train": Part(list(images), None, path)}
    training = [image for image, split in zip(images, splits) if split in ("", *TRAINING_FOLDERS)]
    if not training:
        raise InputError(f"{path}: no image has the split train: give the training images this split")
    if unused := sorted(set(splits) - {"", evaluation, *TRAINING_FOLDERS}):
        notes.append(
            f"evaluating on the split {evaluation}; images of other splits are not used: {some(unused)}"
        )
    evaluated = [image for image, split in zip(images, splits) if split == evaluation]
    return {"train": Part(training, None, path), "evaluation": Part(evaluated, None, path)}


def class_names_of(parts: dict[str, Part]) -> tuple[str, ...] | None:
    """Return the sorted names of the classes, or None if there are none."""
    classes = {name for part in parts.values() for name in part.classes or ()}
    return tuple(sorted(classes)) if classes else None


def _note_loose(path, images, notes):
    if count := sum("/" not in image for image in images):
        notes.append(f"skipped {counted(count, 'image')} beside the split folders of {path}")


def _note_unused(path, images, used, notes):
    if unused := [name for name in _tops(images) if name not in used]:
        notes.append(f"evaluating on {used[1]}/; other folders of {path} are not used: {_named(unused)}")


def _named(folders):
    return some([f"{one_line(name, 60)}/" for name in folders])


def _split_folders(images):
    """Return the top folder of training images, or None, and those of evaluation images, the first to use first."""
    tops = _tops(images)
    training = [name for word in TRAINING_FOLDERS for name in tops if name.lower() == word]
    evaluations = [name for word in EVALUATION_FOLDERS for name in tops if name.lower() == word]
    return (training[0] if training else None), evaluations


def _names_a_split(folder):
    return folder.lower() in (*TRAINING_FOLDERS, *EVALUATION_FOLDERS)


def _tops(images):
    return sorted({image.split("/")[0] for image in images if "/" in image})


def _below(images, folder):
    return [image for image in images if image.startswith(f"{folder}/")]


def _part(path, images, prefix, notes, unlabeled, classes_of_train=None):
    folder = f"{path}/{prefix}".rstrip("/")
    images = [image for image in images if image.startswith(prefix)]
    names = [image[len(prefix) :] for image in images]
    classes = _tops(names)
    if unlabeled:
        return Part(images, None, folder)
    if len(classes) < 2 and not (classes and classes_of_train and classes[0] in classes_of_train):
        if classes:
            notes.append(f"{path}/{prefix} has one sub-folder, {classes[0]}: its images have no labels")
        return Part(images, None, folder)
    in_classes = [(image, name.split("/")[0]) for image, name in zip(images, names) if "/" in name]
    if len(in_classes) < len(images):
        count = len(images) - len(in_classes)
        notes.append(f"skipped {count} images beside the class folders of {path}/{prefix}")
    if classes_of_train is None:
        notes += _doubts(names, classes)
    return Part([image for image, _ in in_classes], [name for _, name in in_classes], folder)


def _doubts(names, classes):
    """Return notes about class folders that may be none."""
    inside = {top: set() for top in classes}
    for name in names:
        if name.count("/") > 1:
            top, below, _ = name.split("/", 2)
            inside[top].add(below)
    first = inside[classes[0]]
    if len(first) > 1 and all(folders == first for folders in inside.values()):
        yield (
            f"the class folders {some(classes)} all have the sub-folders {some(sorted(first))}: if these are the "
            "classes or splits, arrange the images as train/CLASS and val/CLASS"
        )
    if splits := list(filter(_names_a_split, classes)):
        yield (
            f"the class folders {some(classes)} include names of splits ({some(splits)}): if they are splits, arrange "
            "all images as train/CLASS and val/CLASS"
        )
    if all(_DATE.fullmatch(name) for name in classes):
        yield f"the class folders {some(classes)} look like dates: if they are no classes, give --unlabeled"


def _check_classes(path, train, evaluation, name):
    """Give the evaluation images the spelling of the training classes; raise InputError if they have others."""
    if not train.classes or not evaluation.classes:
        return
    # File systems spell one accented name in two ways.
    spelling = {unicodedata.normalize("NFC", name): name for name in train.classes}
    evaluation.classes = [spelling.get(unicodedata.normalize("NFC", c), c) for c in evaluation.classes]
    if unknown := sorted(set(evaluation.classes) - set(train.classes)):
        raise InputError(
            f"{path}: classes of {name}/ that are not in the training folder: "
            f"{some([one_line(c, 60) for c in unknown])}; give both the same class sub-folders"
        )
