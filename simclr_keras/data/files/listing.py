"""What a folder holds: its image files, and what else was met on the way."""

import collections
import dataclasses
import os
import posixpath

import tensorflow as tf

from simclr_keras.data.files.image_file import EXTENSIONS, is_utf8
from simclr_keras.errors import InputError, one_line

# Pictures that TensorFlow does not decode, or not in all its versions.
_OTHER_PICTURES = {".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".jp2", ".jxl", ".svg", ".psd"}


@dataclasses.dataclass
class Listing:
    """Attributes:
    images: Paths relative to the root, sorted.
    without_images: Sub-folders that hold none, sorted.
    unreadable: (sub-folder, reason) of those that cannot be read, sorted.
    other_pictures: How many files there are of each ending in other picture formats.
    passed_over: Number of other files, and of whatever is hidden.
    """

    images: list[str] = dataclasses.field(default_factory=list)
    without_images: list[str] = dataclasses.field(default_factory=list)
    unreadable: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    other_pictures: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    passed_over: int = 0


def list_images(root):
    """The Listing of a folder, searched to any depth.

    Raises:
        InputError: If there is no such folder or it may not be read itself.
    """
    if not root:
        raise InputError("folder: needs a path, as in folder:photos")
    try:
        if not tf.io.gfile.exists(root):
            raise InputError(f"There is no folder {root}: give the path of one that holds images")
        if not tf.io.gfile.isdir(root):
            raise InputError(f"{root} is a file: give the folder that holds the images")
        return _walk(root)
    except (tf.errors.OpError, OSError) as error:
        raise InputError(f"Cannot read the folder {root}: {one_line(error)}; give one you may read") from None


def _walk(root):
    listing, folders = Listing(), []
    waiting = [("", ())]  # a stack, as folders may be nested deeper than calls may
    while waiting:
        # `above` holds the (device, inode) of the local folders on the way.
        folder, above = waiting.pop()
        try:
            inside, above = _names_in(root, folder, above)
        except (tf.errors.OpError, OSError) as error:
            if not folder:
                raise
            listing.unreadable.append((folder, _reason(error)))
            continue
        if inside is None:
            continue
        folders.append(folder)
        for name in inside:
            relative = f"{folder}/{name}" if folder else name
            ending = os.path.splitext(name)[1].lower()
            if name.startswith((".", "__MACOSX")):
                listing.passed_over += 1
            elif ending in EXTENSIONS:
                # Not asked whether it is a folder: on a remote system every question costs a round trip.
                listing.images.append(relative)
            elif ending in _OTHER_PICTURES:
                listing.other_pictures[ending] += 1
            elif is_utf8(name) and tf.io.gfile.isdir(tf.io.gfile.join(root, relative)):
                waiting.append((relative, above))
            else:
                listing.passed_over += 1
    listing.images.sort()
    listing.unreadable.sort()
    listing.without_images = sorted(set(folders) - _folders_of(listing.images))
    return listing


def _names_in(root, folder, above):
    """What lies in a folder, and `above` with it added; None where it is a link to one that it lies in."""
    place = tf.io.gfile.join(root, folder) if folder else root
    if "://" not in root:
        here = os.stat(place)
        if (here.st_dev, here.st_ino) in above:
            return None, above
        above = (*above, (here.st_dev, here.st_ino))
    return _names(place), above


def _folders_of(images):
    """All folders that hold one of these at any depth, and the root."""
    found = {""}
    for image in images:
        folder = posixpath.dirname(image)
        while folder not in found:
            found.add(folder)
            folder = posixpath.dirname(folder)
    return found


def _reason(error):
    if isinstance(error, (PermissionError, tf.errors.PermissionDeniedError)):
        return "may not be read"
    return f"cannot be read: {one_line(error, 100)}"


def _names(place):
    try:
        names = tf.io.gfile.listdir(place)
    except UnicodeDecodeError:  # one of the names is not UTF-8
        names = os.listdir(place)
    return [name.rstrip("/") for name in names]  # object stores mark folders so
