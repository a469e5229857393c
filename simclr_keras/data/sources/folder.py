"""The dataset "folder:PATH": image files, in class sub-folders, in train/ and val/, or flat."""

import os
from multiprocessing.pool import ThreadPool

import numpy as np
import tensorflow as tf

from simclr_keras.data.files.constant_images import note_of_constant
from simclr_keras.data.files.listing import list_images
from simclr_keras.data.files.verify_images import find_unreadable
from simclr_keras.data.sources.labels_csv import read_labels
from simclr_keras.data.sources.layout import (
    class_names_of,
    read_layout,
    read_layout_of_labeled,
    read_split_column,
)
from simclr_keras.data.sources.source import BytesStore, FileStore, Source, Splits
from simclr_keras.errors import InputError, one_line, some
from simclr_keras.formatting import counted

_ASKING = 32  # threads that ask for sizes of files, each a round trip to an object store
_CHUNK = 20  # files that a thread takes at a time


def load_folder(
    path: str,
    labels: str | None,
    memory_limit: int,
    on_bad_image: str = "skip",
    recheck: bool = False,
    unlabeled: bool = False,
    may_be_lost: bool = False,
) -> Splits:
    """Return the Splits of a folder of images.

    Args:
        path: local or remote folder. Class sub-folders (searched to any depth); or train/ beside val/, test/ or the
            like (see layout.py), each with class sub-folders; or images without labels.
        labels: path of a CSV file of file names and labels, and splits if it has such a column (see labels_csv.py), or
            None. With it, class sub-folders have no meaning.
        memory_limit: bytes of encoded files up to which a split is read into memory.
        on_bad_image: "skip" skips unreadable files and sub-folders, "error" raises.
        recheck: whether to decode every file, also those that the manifest remembers as readable.
        unlabeled: whether sub-folders are no classes.
        may_be_lost: whether `labels` may name images that are missing.

    Raises:
        InputError: there is no such folder, it has no readable image, or the labels do not fit it.
        TrainingError: a PNG copy of an image of another format cannot be written.
    """
    listing = list_images(path)
    folders = [(f"{one_line(folder)}/", problem) for folder, problem in listing.unreadable]
    notes = _notes_of_listing(path, listing, folders, on_bad_image)
    if labels is not None:
        values, class_names, splits = read_labels(labels, listing.images, path, notes, may_be_lost)
        number = dict(zip(listing.images, values))

        def is_labeled(image):
            return number[image] >= 0

        if splits is None:
            parts = read_layout_of_labeled(path, listing.images, notes, is_labeled)
        else:
            parts = read_split_column(path, listing.images, splits, notes, is_labeled)
        numbers = {
            name: np.array([number[image] for image in part.images], np.int32) for name, part in parts.items()
        }
        if np.any(values < 0):
            notes.append(f"{int(np.sum(values >= 0))} of {len(values)} images are labeled by {labels}")
    else:
        if listing.without_images:
            notes.append(f"skipped sub-folders without images: {some(listing.without_images)}")
        parts = read_layout(path, listing.images, notes, unlabeled)
        class_names = class_names_of(parts)
        numbers = {name: _numbers(part, class_names) for name, part in parts.items()}

    problems, hashes, copies = _check_files(path, parts, on_bad_image, recheck, notes)
    sources = {
        name: _source(path, part.images, numbers[name], class_names, memory_limit, hashes, copies)
        for name, part in parts.items()
    }
    unreadable = (*folders, *((one_line(image), problem) for image, problem in problems.items()))
    evaluation = sources.get("evaluation")
    if evaluation is not None and labels is not None:
        evaluation = evaluation.labeled() or None
    return Splits(sources["train"], evaluation, class_names, notes=tuple(notes), unreadable=unreadable)


def _notes_of_listing(path, listing, folders, on_bad_image):
    unreadable = some([f"{folder} ({problem})" for folder, problem in folders])
    if folders and (on_bad_image == "error" or not listing.images):
        raise InputError(
            f"{len(folders)} sub-folders of {path} cannot be read: {unreadable}. Check their permissions, or remove "
            "them" + ("; --on_bad_image=skip skips them" if listing.images else "")
        )
    others = ", ".join(f"{count} {extension}" for extension, count in sorted(listing.other_pictures.items()))
    others = others and f"{others} files, which are not read: convert them to JPEG or PNG"
    if not listing.images:
        raise InputError(
            f"{path} contains no image files such as .jpg or .png ({others or f'{listing.skipped} other files'})"
        )
    notes = []
    if others:
        notes.append(f"{path} also contains {others}")
    if folders:
        notes.append(f"skipped {len(folders)} unreadable sub-folders: {unreadable}")
    if listing.skipped:
        notes.append(f"skipped {listing.skipped} hidden or non-image files in {path}")
    return notes


def _numbers(part, class_names):
    if part.classes is None:
        return None
    number = {name: i for i, name in enumerate(class_names)}
    return np.array([number[name] for name in part.classes], np.int32)


def _check_files(root, parts, on_bad_image, recheck, notes):
    """Return the dicts of image to reason, to content hash and to PNG copy, of all parts; add notes."""
    images = sorted(image for part in parts.values() for image in part.images)
    paths = [tf.io.gfile.join(root, image) for image in images]
    problems, hashes, constant, csv, copies = find_unreadable(root, images, paths, recheck)
    copies = {images[row]: copy for row, copy in copies.items()}
    if copies:
        folder = os.path.dirname(next(iter(copies.values())))
        notes.append(f"{counted(len(copies), 'image')} in {root} are converted to PNG, in {folder}")
    hashes = {image: content_hash for image, content_hash in zip(images, hashes) if content_hash}
    if constant.any():
        examples = [images[row] for row in np.flatnonzero(constant)]
        notes.append(note_of_constant(len(examples), len(images), root, examples))
    if not problems:
        return {}, hashes, copies
    problems = {images[row]: problem for row, problem in problems.items()}
    named = some([f"{one_line(image)} ({problem})" for image, problem in problems.items()], 3)
    named += f" (all listed in {csv})" if csv else ""
    for part in parts.values():
        if all(image in problems for image in part.images):
            raise InputError(
                f"None of the {len(part.images)} image files in {part.folder} can be decoded: {named}; "
                "give JPEG or PNG images"
            )
    if on_bad_image == "error":
        raise InputError(
            f"{len(problems)} of the {len(images)} image files in {root} are unreadable: {named}. "
            "Repair or remove them; --on_bad_image=skip skips them"
        )
    notes.append(f"skipped {len(problems)} unreadable images: {named}")
    return problems, hashes, copies


def _source(root, images, labels, class_names, memory_limit, hashes, copies):
    readable = np.array([image in hashes for image in images])
    images = [image for image in images if image in hashes]
    content_hashes = np.array([hashes[image] for image in images], np.uint64)
    labels = None if labels is None else labels[readable]
    paths = [copies.get(image) or tf.io.gfile.join(root, image) for image in images]
    try:
        fits = _fits(paths, memory_limit)
        store = BytesStore(_read_all(paths), content_hashes) if fits else FileStore(paths, content_hashes)
    except tf.errors.OpError as error:
        raise InputError(
            f"An image in {root} became unreadable: {one_line(error)}; remove it, or rerun the command"
        ) from None
    return Source(f"folder:{root}", store, tuple(images), labels, class_names)


def _fits(paths, memory_limit):
    total = 0
    with ThreadPool(min(_ASKING, 1 + len(paths) // _CHUNK)) as pool:
        for length in pool.imap(lambda path: tf.io.gfile.stat(path).length, paths, chunksize=_CHUNK):
            total += length
            if total > memory_limit:  # at once: asking a million remote files for their size takes hours
                return False
    return True


def _read_all(paths):
    with tf.device("CPU:0"):
        files = tf.data.Dataset.from_tensor_slices(paths).map(tf.io.read_file, num_parallel_calls=16)
        return files.batch(len(paths)).get_single_element()
