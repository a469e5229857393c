"""The dataset "folder:PATH": image files, in class sub-folders, in train/ and val/, or flat."""

import dataclasses

import numpy as np
import tensorflow as tf

from simclr_keras.data.files.listing import list_images
from simclr_keras.data.files.verify_images import find_unreadable
from simclr_keras.data.sources.labels_csv import read_labels
from simclr_keras.data.sources.source import BytesStore, FileStore, Source, Splits
from simclr_keras.errors import InputError, one_line, some

EVALUATION_FOLDERS = ("val", "validation", "test", "eval")


@dataclasses.dataclass
class _Part:
    """One split: image paths relative to the root, their class names (None where there are none), and the folder."""

    images: list[str]
    classes: list[str] | None
    place: str


class _ReadError(InputError):
    """A file that was found good could not be read afterwards."""


def load_folder(path, labels, memory_limit, on_bad_image="skip", recheck=False):
    """Splits of a folder of images.

    Args:
        path: Local or remote folder. Class sub-folders (searched to any depth); or train/ beside one of val/,
            validation/, test/, eval/, each with class sub-folders; or images without labels.
        labels: Path of a CSV file of filename (relative to the folder) and label, or None. With it the
            sub-folders mean nothing.
        memory_limit: Bytes of encoded files up to which a split is read into memory.
        on_bad_image: "skip" leaves out files that cannot be decoded and sub-folders that cannot be read, "error"
            raises.
        recheck: Whether to decode every file, also those remembered as good.

    Raises:
        InputError: If there is no such folder, it has no readable image, or the labels do not fit it.
    """
    try:
        return _load(path, labels, memory_limit, on_bad_image, recheck)
    except _ReadError:
        if recheck:
            raise
        return _load(path, labels, memory_limit, on_bad_image, recheck=True)


def _load(path, labels, memory_limit, on_bad_image, recheck):
    listing = list_images(path)
    folders = [(f"{one_line(folder)}/", problem) for folder, problem in listing.unreadable]
    closed = some([f"{folder} ({problem})" for folder, problem in folders])
    if folders and (on_bad_image == "error" or not listing.images):
        raise InputError(
            f"{len(folders)} sub-folders of {path} cannot be read: {closed}. Give yourself the right to read them, or "
            "remove them" + ("; --on_bad_image=skip leaves them out" if listing.images else "")
        )
    others = ", ".join(f"{count} {ending}" for ending, count in sorted(listing.other_pictures.items()))
    others = others and f"{others} files, which are not read: convert them to JPEG or PNG"
    if not listing.images:
        raise InputError(
            f"{path} holds no .jpg, .jpeg or .png files, nor .gif or .bmp "
            f"({others or f'{listing.passed_over} other files'})"
        )
    notes = []
    if others:
        notes.append(f"{path} also holds {others}")
    if folders:
        notes.append(f"{len(folders)} sub-folders that cannot be read passed over: {closed}")
    if listing.passed_over:
        notes.append(f"{listing.passed_over} hidden or non-image files in {path} passed over")

    if labels is not None:
        values, class_names = read_labels(labels, listing.images, path)
        if np.any(values < 0):
            notes.append(f"{int(np.sum(values >= 0))} of {len(values)} images are labeled by {labels}")
        parts = {"train": _Part(listing.images, None, path)}
        numbers = {"train": values}
    else:
        if listing.without_images:
            notes.append(f"Sub-folders without images passed over: {some(listing.without_images)}")
        parts = _parts(path, listing.images, notes)
        class_names = _class_names(path, parts)
        numbers = {name: _numbers(part, class_names) for name, part in parts.items()}

    problems = _problems(path, parts, listing.images, on_bad_image, recheck, notes)
    sources = {}
    for name, part in parts.items():
        sources[name] = _source(path, part.images, numbers[name], class_names, memory_limit, problems)
    unreadable = (*folders, *((one_line(image), problem) for image, problem in problems.items()))
    evaluation = sources.get("evaluation")
    return Splits(sources["train"], evaluation, class_names, notes=tuple(notes), unreadable=unreadable)


def _parts(path, images, notes):
    tops = sorted({image.split("/")[0] for image in images if "/" in image})
    evaluation = [name for name in EVALUATION_FOLDERS if name in tops]
    if "train" in tops and evaluation:
        chosen = evaluation[0]
        unused = [name for name in tops if name not in ("train", chosen)]
        if unused:
            notes.append(f"Evaluating on {chosen}/; other folders of {path} are not used: {some(unused)}")
        return {
            "train": _part(path, images, "train/", notes),
            "evaluation": _part(path, images, f"{chosen}/", notes),
        }
    return {"train": _part(path, images, "train/" if tops == ["train"] else "", notes)}


def _part(path, images, prefix, notes):
    place = f"{path}/{prefix}".rstrip("/")
    images = [image for image in images if image.startswith(prefix)]
    inside = [image[len(prefix) :] for image in images]
    names = {name.split("/")[0] for name in inside if "/" in name}
    loose = sum("/" not in name for name in inside)
    if len(names) < 2:
        if names:
            notes.append(
                f"{path}/{prefix} has one sub-folder, {names.pop()}: its images are taken as unlabeled"
            )
        return _Part(images, None, place)
    if loose:
        notes.append(f"{loose} images beside the class folders of {path}/{prefix} passed over")
    kept = [(image, name.split("/")[0]) for image, name in zip(images, inside) if "/" in name]
    return _Part([image for image, _ in kept], [name for _, name in kept], place)


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
            raise InputError(f"{path}: classes to evaluate on that are not in train/: {some(unknown)}")
    return class_names


def _numbers(part, class_names):
    if part.classes is None:
        return None
    number = {name: i for i, name in enumerate(class_names)}
    return np.array([number[name] for name in part.classes], np.int32)


def _problems(root, parts, listed, on_bad_image, recheck, notes):
    """Dict of image to reason, of all parts, with a note of them."""
    images = sorted(image for part in parts.values() for image in part.images)
    paths = [tf.io.gfile.join(root, image) for image in images]
    problems, listed = find_unreadable(root, images, paths, listed, recheck)
    if not problems:
        return {}
    problems = {images[row]: problem for row, problem in problems.items()}
    named = some([f"{one_line(image)} ({problem})" for image, problem in problems.items()], 3)
    listed = f" (all listed in {listed})" if listed else ""
    for part in parts.values():
        if all(image in problems for image in part.images):
            raise InputError(
                f"None of the {len(part.images)} image files in {part.place} can be decoded: {named}{listed}; "
                "give JPEG or PNG images"
            )
    if on_bad_image == "error":
        raise InputError(
            f"{len(problems)} of the {len(images)} image files in {root} cannot be used: {named}{listed}. "
            "Repair or remove them; --on_bad_image=skip leaves them out"
        )
    notes.append(f"{len(problems)} unreadable images passed over: {named}{listed}")
    return problems


def _source(root, images, labels, class_names, memory_limit, problems):
    kept = np.array([image not in problems for image in images])
    images = [image for image in images if image not in problems]
    labels = None if labels is None else labels[kept]
    paths = [tf.io.gfile.join(root, image) for image in images]
    try:
        store = BytesStore(_read_all(paths)) if _fits(paths, memory_limit) else FileStore(paths)
    except tf.errors.OpError as error:
        raise _ReadError(
            f"An image in {root} could not be read although it was found good: {one_line(error)}; remove it, or give "
            "the command again"
        ) from None
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
