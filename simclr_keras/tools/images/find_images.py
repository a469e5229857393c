"""Image files in a list of files and folders, and the reasons why some are unreadable."""

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

import tensorflow as tf

from simclr_keras.data.files.listing import list_images
from simclr_keras.data.files.verify_images import find_unreadable, verify_file
from simclr_keras.errors import one_line
from simclr_keras.files import expand_home

_WORKERS = 8


def find_images(paths: Sequence[str]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the readable images of files and of folders at any depth, and the others with a reason.

    Args:
        paths: local or any that tf.io.gfile knows.

    Returns:
        (readable images, in the order of `paths` and sorted within a folder: each with the path to read it from, which
        is its own or that of a PNG copy; list of (path, reason) of everything else)
    """
    paths = [*map(expand_home, paths)]
    files = [path for path in dict.fromkeys(paths) if not _is_folder(path)]
    with ThreadPool(_WORKERS) as pool:
        checks = dict(zip(files, pool.map(verify_file, files)))
    unreadable = {path: problem for path, (problem, _) in checks.items() if problem}
    good, bad = {}, [*unreadable.items()]
    for path in paths:
        if path in checks:
            if path not in unreadable:
                good[path] = checks[path][1]
            continue
        listing = list_images(path)
        images = [tf.io.gfile.join(path, image) for image in listing.images]
        verified = find_unreadable(path, listing.images, images)
        for row, image in enumerate(images):
            if row not in verified.problems and image not in unreadable:
                good.setdefault(image, verified.copies.get(row, image))
        bad += [(images[row], problem) for row, problem in verified.problems.items()]
        bad += [(f"{tf.io.gfile.join(path, folder)}/", problem) for folder, problem in listing.unreadable]
        if not images:
            bad.append((path, "contains no image files"))
    return good, [(one_line(path), problem) for path, problem in bad]


def _is_folder(path):
    try:
        return tf.io.gfile.isdir(path)
    except (tf.errors.OpError, UnicodeError):  # the check of a file gives the reason
        return False
