"""Which image files cannot be decoded: found once by decoding them all, then remembered in a manifest."""

import hashlib
import json
import os

import numpy as np
import tensorflow as tf

_MANY = 10_000  # files from which the search shows a progress bar


def find_unreadable(folder, images, paths):
    """Rows of the files that are not JPEG or PNG images that decode to their end.

    The manifest lies in the user's cache folder and is used again while the folder lists the same files. The
    files it names are tried again, so a repaired one comes back.

    Args:
        folder: The folder, local or remote.
        images: List of n paths relative to the folder.
        paths: List of the n paths to open.

    Returns:
        Sorted rows, int64 [m], and the path of the manifest, or None where it could not be written.
    """
    manifest = _manifest_path(folder, images, paths)
    remembered = _read(manifest)
    if remembered is None:
        rows = _undecodable(paths, np.arange(len(paths)))
    else:
        row_of = {image: row for row, image in enumerate(images)}
        named = [row_of[name] for name in remembered if name in row_of]
        rows = _undecodable(paths, np.array(named, np.int64))
    written = _write(manifest, folder, images, rows)
    return rows, manifest if written else None


def _undecodable(paths, rows):
    if not len(rows):
        return rows
    files = tf.data.Dataset.from_tensor_slices((rows, [paths[row] for row in rows]))
    files = files.map(lambda row, path: (row, tf.io.read_file(path)), tf.data.AUTOTUNE)
    # decode_jpeg takes GIF and BMP too, of which no windows can be decoded.
    files = files.filter(lambda _, file: tf.io.is_jpeg(file) | _is_png(file))
    sizes = files.map(lambda row, file: (row, _decoded_size(file)), tf.data.AUTOTUNE).ignore_errors()
    return np.setdiff1d(rows, [row for row, _ in _with_progress(sizes.as_numpy_iterator(), len(rows))])


def _is_png(file):
    return tf.strings.substr(file, 0, 4) == b"\x89PNG"


def _decoded_size(file):
    return tf.cond(
        _is_png(file),
        lambda: tf.size(tf.io.decode_png(file, channels=3)),
        # An eighth of the size needs no full transform, but still every byte.
        lambda: tf.size(tf.io.decode_jpeg(file, channels=3, ratio=8)),
    )


def _with_progress(items, total):
    if total < _MANY:
        return items
    from tqdm import tqdm

    return tqdm(items, "checking images", total, unit="file", disable=None)


def _manifest_path(folder, images, paths):
    """Where the manifest of just these files is: another place, size or time of one of them is another manifest."""
    place = str(folder) if "://" in str(folder) else os.path.abspath(folder)
    digest = hashlib.sha256(os.fsencode(place))
    for image, path in zip(images, paths):
        stamp = ""
        # A file that is gone (a broken link) is for the search to find; remotely every question costs a round trip.
        if "://" not in str(path) and os.path.exists(path):
            found = os.stat(path)
            stamp = f"{found.st_size} {found.st_mtime_ns}"
        digest.update(os.fsencode(f"\n{image}\0{stamp}"))
    digest = digest.hexdigest()[:24]
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "simclr_keras", f"unreadable-{digest}.json")


def _read(manifest):
    try:
        with open(manifest, encoding="utf-8") as file:
            return [str(name) for name in json.load(file)["unreadable"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(manifest, folder, images, rows):
    content = {"folder": str(folder), "files": len(images), "unreadable": [images[row] for row in rows]}
    try:
        os.makedirs(os.path.dirname(manifest), exist_ok=True)
        with open(f"{manifest}.{os.getpid()}", "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        os.replace(f"{manifest}.{os.getpid()}", manifest)
    except OSError:  # a home that cannot be written to costs only the memory of the search
        return False
    return True
