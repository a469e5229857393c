"""The content of a folder: image files, unreadable sub-folders, and the number of other files."""

import collections
import dataclasses
import os
import posixpath

import tensorflow as tf

from simclr_keras.data.files.image_file import EXTENSIONS, NOT_UTF8, is_utf8
from simclr_keras.errors import InputError, one_line

# Pictures that are not read; the second line are raws of phones and cameras.
_OTHER_IMAGES = {
    *(".jp2", ".jxl", ".svg", ".psd"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf"),
}
# What macOS, Windows and Synology add to folders: passed over silently, and not counted.
SYSTEM_FILES = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "__macosx"}


@dataclasses.dataclass
class Listing:
    """Attributes:
    images: paths relative to the root, sorted.
    without_images: sub-folders without any image, sorted.
    unreadable: (sub-folder, reason), sorted.
    other_pictures: number of files per extension of other picture formats.
    skipped: number of all other files, and of hidden files and folders, without those that systems add.
    """

    images: list[str] = dataclasses.field(default_factory=list)
    without_images: list[str] = dataclasses.field(default_factory=list)
    unreadable: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    other_pictures: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    skipped: int = 0


def list_images(root: str) -> Listing:
    """Return the Listing of a folder, searched to any depth.

    Raises:
        InputError: the folder is missing or unreadable.
    """
    if not root:
        raise InputError("folder: needs a path, as in folder:photos")
    try:
        if not tf.io.gfile.exists(root):
            raise InputError(f"There is no folder {root}: give the path of a folder of images")
        if not tf.io.gfile.isdir(root):
            raise InputError(f"{root} is a file: give the folder that contains the images")
        return _walk(root)
    except (tf.errors.OpError, OSError) as error:
        raise InputError(f"Cannot read the folder {root}: {one_line(error)}; check its permissions") from None


def _walk(root):
    listing, folders, marks_folders = Listing(), [], False
    waiting = [("", ())]  # a stack: folders may be nested deeper than function calls
    while waiting:
        folder, parents = waiting.pop()  # parents: (device, inode) of the local folders on the way
        path = tf.io.gfile.join(root, folder) if folder else root
        try:
            if "://" not in root:
                status = os.stat(path)
                inode = (status.st_dev, status.st_ino)
                if inode in parents:  # a link to a folder that contains it
                    continue
                parents = (*parents, inode)
            names = _names(path)
        except (tf.errors.OpError, OSError) as error:
            if not folder:
                raise
            listing.unreadable.append((folder, _reason(error)))
            continue
        folders.append(folder)
        # Object stores end the names of folders with a slash. Then no name is asked for, which costs a round trip.
        marks_folders = marks_folders or any(name.endswith("/") for name in names)
        for listed in names:
            name = listed.rstrip("/")
            relative = f"{folder}/{name}" if folder else name
            extension = os.path.splitext(name)[1].lower()
            if name.lower() in SYSTEM_FILES or name.startswith("._"):
                continue
            if name.startswith("."):
                listing.skipped += 1
            elif extension in EXTENSIONS:
                # Whether it is a folder is not checked: on a remote system every check costs a round trip.
                listing.images.append(relative)
            elif extension in _OTHER_IMAGES:
                listing.other_pictures[extension] += 1
            elif not is_utf8(name) and os.path.isdir(os.path.join(path, name)):
                listing.unreadable.append((relative, NOT_UTF8))
            elif listed.endswith("/") or (
                not marks_folders and is_utf8(name) and tf.io.gfile.isdir(tf.io.gfile.join(root, relative))
            ):
                waiting.append((relative, parents))
            else:
                listing.skipped += 1
    listing.images.sort()
    listing.unreadable.sort()
    listing.without_images = sorted(set(folders) - _parents_of(listing.images))
    return listing


def _parents_of(images):
    """Return all folders that contain one of these at any depth, and the root."""
    folders = {""}
    for image in images:
        folder = posixpath.dirname(image)
        while folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    return folders


def _reason(error):
    if isinstance(error, (PermissionError, tf.errors.PermissionDeniedError)):
        return "permission denied"
    return f"cannot be read: {one_line(error, 100)}"


def _names(path):
    try:
        return tf.io.gfile.listdir(path)
    except UnicodeDecodeError:  # one of the names is not UTF-8
        return os.listdir(path)
