"""Image files in a list of files and folders, and the reasons why some are unreadable."""

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

import tensorflow as tf

from simclr_keras.data.files.image_file import problem_of
from simclr_keras.data.files.listing import list_images
from simclr_keras.data.files.verify_images import find_unreadable
from simclr_keras.errors import one_line
from simclr_keras.files import expand_home

_WORKERS = 8


def find_images(paths: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the readable images of files and of folders at any depth, and the others with a reason.

    Args:
        paths: local or any that tf.io.gfile knows.

    Returns:
        (paths of the readable images, in the order of `paths` and sorted within a folder, each once;
        list of (path, reason) of everything else)
    """
    good, bad, files = [], [], []
    for path in map(expand_home, paths):
        if not _is_folder(path):
            files.append(path)
            good.append(path)
            continue
        listing = list_images(path)
        images = [tf.io.gfile.join(path, image) for image in listing.images]
        problems = find_unreadable(path, listing.images, images).problems
        good += [image for row, image in enumerate(images) if row not in problems]
        bad += [(images[row], problem) for row, problem in problems.items()]
        bad += [(f"{tf.io.gfile.join(path, folder)}/", problem) for folder, problem in listing.unreadable]
        if not images:
            bad.append((path, "contains no JPEG, PNG or BMP files"))
    with ThreadPool(_WORKERS) as pool:
        problems = {path: problem for path, problem in zip(files, pool.map(problem_of, files)) if problem}
    good = [path for path in dict.fromkeys(good) if path not in problems]
    return good, [(one_line(path), problem) for path, problem in [*problems.items(), *bad]]


def _is_folder(path):
    try:
        return tf.io.gfile.isdir(path)
    except (tf.errors.OpError, UnicodeError):  # the check of a file gives the reason
        return False
