"""The image files that a command names one by one or by their folders, and what is wrong with some of them."""

from multiprocessing.pool import ThreadPool

import tensorflow as tf

from simclr_keras.data.files.image_file import problem_of
from simclr_keras.data.files.listing import list_images
from simclr_keras.data.files.verify_images import find_unreadable
from simclr_keras.errors import one_line

_WORKERS = 8


def find_images(words):
    """Looks through files and folders, these to any depth.

    Args:
        words: paths, local or any that tf.io.gfile knows.

    Returns:
        (paths of the images that can be read, in the order of the words and sorted within a folder, each once;
        list of (path, reason) of everything else)
    """
    good, bad, files = [], [], []
    for word in words:
        if not _is_folder(word):
            files.append(word)
            good.append(word)
            continue
        listing = list_images(word)
        paths = [tf.io.gfile.join(word, image) for image in listing.images]
        problems, _ = find_unreadable(word, listing.images, paths, listing.images)
        good += [path for row, path in enumerate(paths) if row not in problems]
        bad += [(paths[row], problem) for row, problem in problems.items()]
        bad += [(f"{tf.io.gfile.join(word, folder)}/", problem) for folder, problem in listing.unreadable]
        if not paths:
            bad.append((word, "contains no JPEG, PNG or BMP files"))
    with ThreadPool(_WORKERS) as pool:
        problems = {path: problem for path, problem in zip(files, pool.map(problem_of, files)) if problem}
    good = [path for path in dict.fromkeys(good) if path not in problems]
    return good, [(one_line(path), problem) for path, problem in [*problems.items(), *bad]]


def _is_folder(path):
    try:
        return tf.io.gfile.isdir(path)
    except (tf.errors.OpError, UnicodeError):  # then what is wrong with it is said as of a file
        return False
