"""What a folder holds: its image files, and what else was met on the way."""

import collections
import dataclasses
import os

import tensorflow as tf

from simclr_keras.data.image_file import EXTENSIONS, is_utf8
from simclr_keras.errors import InputError, one_line

# Pictures that TensorFlow does not decode, or not in all its versions.
_OTHER_PICTURES = {".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".jp2", ".jxl", ".svg", ".psd"}


@dataclasses.dataclass
class Listing:
    """Attributes:
    images: Paths relative to the root, sorted.
    without_images: Sub-folders that hold none.
    other_pictures: How many files there are of each ending in other picture formats.
    passed_over: Number of other files, and of whatever is hidden.
    """

    images: list[str] = dataclasses.field(default_factory=list)
    without_images: list[str] = dataclasses.field(default_factory=list)
    other_pictures: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    passed_over: int = 0


def list_images(root):
    """The Listing of a folder, searched to any depth.

    Raises:
        InputError: If there is no such folder or it may not be read.
    """
    if not root:
        raise InputError("folder: needs a path, as in folder:photos")
    try:
        if not tf.io.gfile.exists(root):
            raise InputError(f"There is no folder {root}: give the path of one that holds images")
        if not tf.io.gfile.isdir(root):
            raise InputError(f"{root} is a file: give the folder that holds the images")
        listing = Listing()
        _walk(root, "", listing, ())
    except (tf.errors.OpError, OSError) as error:
        raise InputError(f"Cannot read the folder {root}: {one_line(error)}; give one you may read") from None
    listing.images.sort()
    return listing


def _walk(root, folder, listing, above):
    """Lists a folder and those in it; `above` holds the (device, inode) of the local folders on the way."""
    found = len(listing.images)
    place = tf.io.gfile.join(root, folder) if folder else root
    if "://" not in root:
        here = os.stat(place)
        if (here.st_dev, here.st_ino) in above:  # a link to a folder it lies in
            return
        above = (*above, (here.st_dev, here.st_ino))
    for name in sorted(_names(place)):
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
            _walk(root, relative, listing, above)
        else:
            listing.passed_over += 1
    if folder and len(listing.images) == found:
        listing.without_images.append(folder)


def _names(place):
    try:
        names = tf.io.gfile.listdir(place)
    except UnicodeDecodeError:  # one of the names is not UTF-8
        names = os.listdir(place)
    return [name.rstrip("/") for name in names]  # object stores mark folders so
