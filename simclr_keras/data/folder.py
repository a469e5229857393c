"""The dataset "folder:PATH": JPEG and PNG files, in class sub-folders, in train/ and val/, or flat."""

import dataclasses

import numpy as np
import tensorflow as tf

from simclr_keras.data.failures import one_line
from simclr_keras.data.labels_csv import read_labels
from simclr_keras.data.readable import find_unreadable
from simclr_keras.data.source import BytesStore, FileStore, Source, Splits
from simclr_keras.errors import InputError

EVALUATION_FOLDERS = ("val", "validation", "test", "eval")
EXTENSIONS = (".jpg", ".jpeg", ".png")


@dataclasses.dataclass
class _Listing:
    """Image paths relative to the root, sorted, and what else was met on the way."""

    images: list[str] = dataclasses.field(default_factory=list)
    without_images: list[str] = dataclasses.field(default_factory=list)
    passed_over: int = 0


@dataclasses.dataclass
class _Part:
    """One split: image paths relative to the root, and their class names (None where there are none)."""

    images: list[str]
    classes: list[str] | None


def load_folder(path, labels, memory_limit):
    """Splits of a folder of images.

    Args:
        path: Local or remote folder. Class sub-folders (searched to any depth); or train/ beside one of val/,
            validation/, test/, eval/, each with class sub-folders; or images without labels.
        labels: Path of a CSV file of filename (relative to the folder) and label, or None. With it the
            sub-folders mean nothing.
        memory_limit: Bytes of encoded files up to which a split is read into memory.

    Raises:
        InputError: If there is no such folder, it has no readable image, or the labels do not fit it.
    """
    listing = _list_images(path)
    if not listing.images:
        raise InputError(f"{path} holds no .jpg, .jpeg or .png files ({listing.passed_over} other files)")
    notes = []
    if listing.passed_over:
        notes.append(f"{listing.passed_over} hidden or non-image files in {path} passed over")

    if labels is not None:
        values, class_names = read_labels(labels, listing.images, path)
        if np.any(values < 0):
            notes.append(f"{int(np.sum(values >= 0))} of {len(values)} images are labelled by {labels}")
        parts = {"train": _Part(listing.images, None)}
        numbers = {"train": values}
    else:
        if listing.without_images:
            notes.append(f"Sub-folders without images passed over: {_some(listing.without_images)}")
        parts = _parts(path, listing.images, notes)
        class_names = _class_names(path, parts)
        numbers = {name: _numbers(part, class_names) for name, part in parts.items()}

    sources = {}
    for name, part in parts.items():
        sources[name] = _source(path, part.images, numbers[name], class_names, memory_limit, notes)
    return Splits(sources["train"], sources.get("evaluation"), class_names, notes=tuple(notes))


def _list_images(root):
    if not root:
        raise InputError("folder: needs a path, as in folder:photos")
    try:
        if not tf.io.gfile.exists(root):
            raise InputError(f"There is no folder {root}: give the path of one that holds images")
        if not tf.io.gfile.isdir(root):
            raise InputError(f"{root} is a file: give the folder that holds the images")
        listing = _Listing()
        _walk(root, "", listing)
    except (tf.errors.OpError, OSError) as error:
        raise InputError(f"Cannot read the folder {root}: {one_line(error)}; give one you may read") from None
    listing.images.sort()
    return listing


def _walk(root, folder, listing):
    found = len(listing.images)
    for name in sorted(tf.io.gfile.listdir(tf.io.gfile.join(root, folder) if folder else root)):
        name = name.rstrip("/")  # object stores mark folders so
        relative = f"{folder}/{name}" if folder else name
        if name.startswith((".", "__MACOSX")):
            listing.passed_over += 1
        elif name.lower().endswith(EXTENSIONS):
            # Not asked whether it is a folder: on a remote system every question costs a round trip.
            listing.images.append(relative)
        elif tf.io.gfile.isdir(tf.io.gfile.join(root, relative)):
            _walk(root, relative, listing)
        else:
            listing.passed_over += 1
    if folder and len(listing.images) == found:
        listing.without_images.append(folder)


def _parts(path, images, notes):
    tops = sorted({image.split("/")[0] for image in images if "/" in image})
    evaluation = [name for name in EVALUATION_FOLDERS if name in tops]
    if "train" in tops and evaluation:
        chosen = evaluation[0]
        unused = [name for name in tops if name not in ("train", chosen)]
        if unused:
            notes.append(f"Evaluating on {chosen}/; other folders of {path} are not used: {_some(unused)}")
        return {
            "train": _part(path, images, "train/", notes),
            "evaluation": _part(path, images, f"{chosen}/", notes),
        }
    return {"train": _part(path, images, "train/" if tops == ["train"] else "", notes)}


def _part(path, images, prefix, notes):
    images = [image for image in images if image.startswith(prefix)]
    inside = [image[len(prefix) :] for image in images]
    names = {name.split("/")[0] for name in inside if "/" in name}
    loose = sum("/" not in name for name in inside)
    if len(names) < 2:
        if names:
            notes.append(
                f"{path}/{prefix} has one sub-folder, {names.pop()}: its images are taken as unlabelled"
            )
        return _Part(images, None)
    if loose:
        notes.append(f"{loose} images beside the class folders of {path}/{prefix} passed over")
    kept = [(image, name.split("/")[0]) for image, name in zip(images, inside) if "/" in name]
    return _Part([image for image, _ in kept], [name for _, name in kept])


def _class_names(path, parts):
    train, evaluation = parts["train"], parts.get("evaluation")
    if train.classes is None:
        return (
            None
            if evaluation is None or evaluation.classes is None
            else tuple(sorted(set(evaluation.classes)))
        )
    class_names = tuple(sorted(set(train.classes)))
    if evaluation is not None:
        if evaluation.classes is None:
            raise InputError(f"{path}: train/ has class sub-folders but the evaluation folder has none")
        unknown = sorted(set(evaluation.classes) - set(class_names))
        if unknown:
            raise InputError(f"{path}: classes to evaluate on that are not in train/: {_some(unknown)}")
    return class_names


def _numbers(part, class_names):
    if part.classes is None:
        return None
    number = {name: i for i, name in enumerate(class_names)}
    return np.array([number[name] for name in part.classes], np.int32)


def _source(root, images, labels, class_names, memory_limit, notes):
    paths = [tf.io.gfile.join(root, image) for image in images]
    unreadable, manifest = find_unreadable(root, images, paths)
    if len(unreadable) == len(images):
        raise InputError(f"None of the {len(images)} image files in {root} can be decoded as JPEG or PNG")
    if len(unreadable):
        names = _some([images[row] for row in unreadable])
        listed = f" (all listed in {manifest})" if manifest else ""
        notes.append(f"{len(unreadable)} unreadable images passed over: {names}{listed}")
        kept = np.setdiff1d(np.arange(len(images)), unreadable)
        images, paths = [images[row] for row in kept], [paths[row] for row in kept]
        labels = None if labels is None else labels[kept]
    store = BytesStore(_read_all(paths)) if _fits(paths, memory_limit) else FileStore(paths)
    return Source(f"folder:{root}", store, tuple(images), labels, class_names)


def _fits(paths, memory_limit):
    total = 0
    for path in paths:
        total += tf.io.gfile.stat(path).length
        if total > memory_limit:  # at once: asking a million remote files for their size takes hours
            return False
    return True


def _read_all(paths):
    with tf.device("CPU:0"):
        files = tf.data.Dataset.from_tensor_slices(paths).map(tf.io.read_file, num_parallel_calls=16)
        return files.batch(len(paths)).get_single_element()


def _some(names):
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
