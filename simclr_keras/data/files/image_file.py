"""One image file: which format its bytes have, and whether every pixel can be decoded; if not, the reason."""

import contextlib
import errno
import os
import stat
import threading
from typing import NamedTuple

import tensorflow as tf

from simclr_keras.data.content_hash import hash_of
from simclr_keras.data.files.constant_images import are_nearly_constant
from simclr_keras.data.files.converted_images import ConvertedImages
from simclr_keras.data.files.pillow_image import UndecodableError, decode_picture, open_picture
from simclr_keras.errors import one_line
from simclr_keras.preprocess import decode_deep_png, decode_usual

# File names taken as images, whatever format their bytes then turn out to be.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp"),
    *(".webp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".gif"),
)
NOT_UTF8 = "has a name that is not UTF-8"
# Pillow's own limit: a header that claims more is more likely an attack on memory than a picture.
MOST_PIXELS = 178_956_970
# Four bytes a pixel: no compressed picture of that many pixels takes more.
MOST_BYTES = 4 * MOST_PIXELS

# Several files of this many bytes or pixels, decoded at once, would fill the memory of a small machine.
_LARGE = 64_000_000
_one_large_file_at_a_time = threading.RLock()
_HEADER_BYTES = 32  # enough to recognize every format here
_BMP_HEADERS = [size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124)]

# (place, first bytes, format), of the formats that Pillow decodes and of others.
_PILLOW_FORMATS = (
    (0, b"GIF8", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (8, b"WEBP", "WebP"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"),
)
_OTHER_FORMATS = (
    (4, b"jP  ", "JPEG 2000"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, b"<svg", "SVG"),
)
# The plain kind of WebP, without alpha, EXIF or frames; earlier versions do not decode it.
_TENSORFLOW_READS_WEBP = tuple(map(int, tf.__version__.split(".")[:2])) >= (2, 21)


class FileCheck(NamedTuple):
    """The check of a file.

    Attributes:
        problem: why the file cannot be used, or "".
        content_hash: of a usable file; 0 for others.
        is_constant: whether the image is almost blank.
        is_converted: whether Pillow decoded the file, so that TensorFlow needs a PNG copy of it.
    """

    problem: str
    content_hash: int = 0
    is_constant: bool = False
    is_converted: bool = False


def problem_of(path: str) -> str:
    """Return why a file cannot be used, or "" if it can: words that follow its name in a message."""
    return check_file(path).problem


def check_file(path: str, copies: ConvertedImages | None = None) -> FileCheck:
    """Return the FileCheck of a file.

    Every byte is decoded, except of files above MOST_BYTES or MOST_PIXELS. If the first bytes are not those of an
    image, nothing else is read.

    Args:
        path: local or remote path.
        copies: gets a PNG copy of an image that TensorFlow does not decode; or None.

    Raises:
        TrainingError: the copy cannot be written.
    """
    if not is_utf8(path):
        return FileCheck(NOT_UTF8)
    try:
        status = None if "://" in path else os.stat(path)
        if status is not None and not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            return FileCheck("is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
        with tf.io.gfile.GFile(path, "rb") if "://" in path else open(path, "rb") as file:
            start = file.read(_HEADER_BYTES)
            if problem := _problem_of_start(start):
                return FileCheck(problem)
            size = file.size() if status is None else status.st_size
            if size > MOST_BYTES:
                return FileCheck(f"is too large: {size:,} bytes, the limit is {MOST_BYTES:,}")
            with _one_large_file_at_a_time if size > _LARGE else contextlib.nullcontext():
                content = start + file.read()
                check, pixels = _decoded(content)
                check = check if check.problem else check._replace(content_hash=hash_of(content))
                if check.is_converted and copies is not None:
                    copies.write(check.content_hash, pixels)
                return check
    except MemoryError:
        problem = "does not fit into memory"
    except (FileNotFoundError, tf.errors.NotFoundError):
        problem = "is a broken link" if os.path.islink(path) else "is missing"
    except PermissionError:
        problem = "cannot be read: permission denied"
    except OSError as error:
        circular = error.errno == errno.ELOOP
        problem = "is a circular link" if circular else f"cannot be read: {error.strerror}"
    except tf.errors.OpError as error:
        problem = f"cannot be read: {one_line(error, 100)}"
    return FileCheck(problem)


def check_bytes(file: bytes) -> FileCheck:
    """Return the FileCheck of the bytes of a file, without the hash."""
    return _decoded(file)[0]


def _decoded(file):
    """Return the FileCheck of the bytes of a file, without the hash, and its pixels, or None."""
    if problem := _problem_of_start(file):
        return FileCheck(problem), None
    kind = _kind(file)
    damage = FileCheck(f"is damaged or incomplete (a {kind})"), None
    if kind == "JPEG" and (problem := _jpeg_problem(file)):
        return FileCheck(problem), None
    needs_pillow = _needs_pillow(kind, file)
    try:
        size = open_picture(file, kind).size if needs_pillow else _size(kind, file)
        if size is None:
            return damage
        width, height = size
        if width * height > MOST_PIXELS:
            limit = f"{width} x {height} pixels, the limit is {MOST_PIXELS:,}"
            return FileCheck(f"is too large: {limit}"), None
        with _one_large_file_at_a_time if width * height >= _LARGE else contextlib.nullcontext():
            image = decode_picture(file, kind) if needs_pillow else _decode(file)
            is_constant = bool(are_nearly_constant(image[None])[0])
            return FileCheck("", is_constant=is_constant, is_converted=needs_pillow), image
    except UndecodableError as error:
        return FileCheck(str(error)), None
    except tf.errors.ResourceExhaustedError:
        return FileCheck(f"does not fit into memory: {width} x {height} pixels"), None
    except tf.errors.OpError:
        return damage


def is_utf8(name: str) -> bool:
    """Return whether a file name can be printed, written to JSON and given to TensorFlow."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _problem_of_start(start):
    """Return why a file that begins with these bytes is not an image we read, or ""."""
    if not start:
        return "is empty"
    if _kind(start) is not None:
        return ""
    if name := _format_in(_OTHER_FORMATS, start):
        return f"is a {name} image: convert it to JPEG or PNG"
    return "is not an image of a known format"


def _format_in(formats, start):
    return next((name for at, first, name in formats if start[at : at + len(first)] == first), None)


def _decode(file):
    is_deep_png = _kind(file) == "PNG" and file[24:25] == b"\x10"
    # If this succeeds, so does the decoding of any window of it: tried on 80,000 damaged JPEGs.
    with tf.device("CPU:0"):
        return (decode_deep_png if is_deep_png else decode_usual)(tf.constant(file)).numpy()


def _kind(file):
    if file.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if file.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    # Two letters are too few to recognize a BMP by.
    if file.startswith(b"BM") and file[14:18] in _BMP_HEADERS:
        return "BMP"
    kind = _format_in(_PILLOW_FORMATS, file)
    return "AVIF" if kind == "HEIC" and b"avif" in file[16:_HEADER_BYTES] else kind  # both can be called mif1


def _needs_pillow(kind, file):
    if kind == "BMP":
        return _is_rare_bmp(file)
    if kind == "WebP":
        return not (_TENSORFLOW_READS_WEBP and file[12:16] == b"VP8 ")
    return kind not in ("JPEG", "PNG")


def _size(kind, file):
    """Return (width, height) from the header, or None."""
    if kind == "WebP":
        return tuple(int.from_bytes(file[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    if kind == "PNG":
        if len(file) < 24 or file[12:16] != b"IHDR":
            return None
        return int.from_bytes(file[16:20], "big"), int.from_bytes(file[20:24], "big")
    if kind == "BMP":
        return tuple(abs(int.from_bytes(file[at : at + 4], "little", signed=True)) for at in (18, 22))
    try:
        with tf.device("CPU:0"):
            height, width, _ = tf.io.extract_jpeg_shape(tf.constant(file)).numpy().tolist()
    except tf.errors.OpError:
        return None
    return width, height


def _is_rare_bmp(file):
    """TensorFlow decodes these to wrong colors: it looks at neither palette nor masks."""
    header, bits = int.from_bytes(file[14:18], "little"), int.from_bytes(file[28:30], "little")
    palette = file[14 + header : 14 + header + 1024]
    gray = all(palette[color::4] == bytes(range(256)) for color in range(3))
    compressed = file[30:34] != bytes(4)
    return header < 40 or compressed or not (bits in (24, 32) or (bits == 8 and gray))


def _jpeg_problem(file):
    at = 2
    while at + 9 < len(file) and file[at] == 0xFF and file[at + 1] != 0xDA:  # 0xDA: here the pixels begin
        marker = file[at + 1]
        if marker == 0xFF:  # any number of these may stand before a marker
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame header
            if file[at + 4] != 8:
                return f"is a JPEG of {file[at + 4]} bits, where 8 are usual: convert it to PNG"
            if marker > 0xC2:  # not all of these decode, and none decodes everywhere
                return "is a JPEG of a rare kind (lossless, hierarchical or arithmetic): convert it to PNG"
        at += 2 + int.from_bytes(file[at + 2 : at + 4], "big")
    return ""
