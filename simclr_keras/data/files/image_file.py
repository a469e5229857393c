"""What one image file is and whether it can be decoded; if not, why, in words for its owner."""

import contextlib
import errno
import os
import stat
import threading

import tensorflow as tf

from simclr_keras.errors import one_line

# Names of files taken as images, whatever of these formats their bytes then turn out to be.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".bmp")
# Pillow's own limit: what claims to be larger is more likely an attack on memory than a picture.
MOST_PIXELS = 178_956_970
# Four bytes a pixel: no picture of that many pixels that is compressed at all takes more.
MOST_BYTES = 4 * MOST_PIXELS

# The bytes or the decoded pixels of several such files at once would fill a small machine.
_LARGE = 64_000_000
_one_large_file_at_a_time = threading.RLock()
# Enough to tell every format here.
_START = 32

_OTHER_FORMATS = (
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (8, b"WEBP", "WebP"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"8BPS", "Photoshop"),
    (0, b"<svg", "SVG"),
)


def problem_of(path):
    """Why a file cannot be used, or "" if it can: the words that follow its name in a message.

    Every byte is decoded, unless the file is larger than MOST_BYTES or the header tells of more than MOST_PIXELS
    pixels. Of what does not begin as an image no more than the beginning is read.

    Args:
        path: Local or remote path.
    """
    if not is_utf8(path):
        return "has a name that is not UTF-8"
    try:
        found = None if "://" in path else os.stat(path)
        if found is not None and not stat.S_ISREG(found.st_mode):  # reading a pipe would wait for ever
            return "is a folder" if stat.S_ISDIR(found.st_mode) else "is no regular file"
        with tf.io.gfile.GFile(path, "rb") if "://" in path else open(path, "rb") as file:
            start = file.read(_START)
            if problem := _problem_of_start(start):
                return problem
            size = file.size() if found is None else found.st_size
            if size > MOST_BYTES:
                return f"{size:,} bytes are more than {MOST_BYTES:,}"
            with _one_large_file_at_a_time if size > _LARGE else contextlib.nullcontext():
                return problem_of_bytes(start + file.read())
    except MemoryError:
        return "does not fit into memory"
    except FileNotFoundError:
        return "is a link to nothing" if os.path.islink(path) else "is not there"
    except PermissionError:
        return "may not be read"
    except OSError as error:
        return "is a link in a circle" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
    except tf.errors.NotFoundError:
        return "is not there"
    except tf.errors.OpError as error:
        return f"cannot be read: {one_line(error, 100)}"


def problem_of_bytes(file):
    """Why the bytes of a file cannot be decoded to the right pixels, or ""."""
    if problem := _problem_of_start(file):
        return problem
    kind = _kind(file)
    if kind == "GIF":
        frames = _gif_frames(file)
    else:
        frames = [_size(kind, file)]
    if None in frames or not frames:
        return (_jpeg_problem(file) if kind == "JPEG" else "") or _damage(kind, file)
    first, *others = (width * height for width, height in frames)
    # The decoder holds the further frames of a GIF too, at a byte a pixel where the image used has three.
    pixels = first + sum(others) // 3
    if pixels > MOST_PIXELS:
        many = f"{len(frames)} frames up to " if len(frames) > 1 else ""
        width, height = max(frames)
        return f"{many}{width} x {height} pixels are more than {MOST_PIXELS:,}"
    problem = {"BMP": _bmp_problem, "GIF": _gif_problem, "JPEG": _jpeg_problem}.get(kind, lambda _: "")(file)
    if problem:
        return problem
    try:
        if pixels < _LARGE:
            _decode(file)
        else:
            with _one_large_file_at_a_time:
                _decode(file)
    except tf.errors.ResourceExhaustedError:
        return f"{frames[0][0]} x {frames[0][1]} pixels do not fit into memory"
    except tf.errors.OpError:
        return _damage(kind, file)
    return ""


def is_utf8(name):
    """Whether a file name can be printed, written to JSON and given to TensorFlow."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _problem_of_start(start):
    """Why a file that begins so is none of our images, or ""."""
    if not start:
        return "is empty"
    if _kind(start) is not None:
        return ""
    for at, signature, name in _OTHER_FORMATS:
        if start[at : at + len(signature)] == signature:
            return f"is a {name} image: convert it to JPEG or PNG"
    return "is no JPEG, PNG, GIF or BMP image"


def _decode(file):
    # Where this succeeds, so does the decoding of any window of it: tried on 80,000 damaged JPEGs.
    with tf.device("CPU:0"):
        tf.io.decode_image(tf.constant(file), channels=3, expand_animations=False)


def _kind(file):
    if file.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if file.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if file.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    # Two letters are too few to tell a BMP by.
    return "BMP" if file.startswith(b"BM") and file[14:18] in _BMP_HEADERS else None


def _size(kind, file):
    """(width, height) from the header, or None."""
    if kind == "PNG":
        sound = len(file) >= 24 and file[12:16] == b"IHDR"
        return (int.from_bytes(file[16:20], "big"), int.from_bytes(file[20:24], "big")) if sound else None
    if kind == "BMP" and file[14] == 12:  # OS/2
        return tuple(int.from_bytes(file[at : at + 2], "little") for at in (18, 20))
    if kind == "BMP":
        return tuple(abs(int.from_bytes(file[at : at + 4], "little", signed=True)) for at in (18, 22))
    try:
        with tf.device("CPU:0"):
            height, width, _ = tf.io.extract_jpeg_shape(tf.constant(file)).numpy().tolist()
    except tf.errors.OpError:
        return None
    return width, height


def _gif_frames(file):
    """(width, height) of every frame."""
    return [place[2:] for place in _gif_places(file)]


def _gif_places(file):
    """(left, top, width, height) of every frame."""
    frames = []
    at = 13 + _color_table(file[10:11])
    while file[at : at + 1] in (b"!", b","):
        if file[at] == ord(","):
            if len(file) < at + 10:
                break
            frames.append(tuple(int.from_bytes(file[at + i : at + i + 2], "little") for i in (1, 3, 5, 7)))
            at += 11 + _color_table(file[at + 9 : at + 10])
        else:
            at += 2
        while at < len(file) and file[at]:
            at += 1 + file[at]
        at += 1
    return frames


def _gif_problem(file):
    """TensorFlow paints around such a first frame what no other program does, and takes the largest for the screen."""
    screen = tuple(int.from_bytes(file[at : at + 2], "little") for at in (6, 8))
    places = _gif_places(file)
    if places[0] != (0, 0, *screen) or any(w > screen[0] or h > screen[1] for _, _, w, h in places):
        return "is a GIF whose first frame does not fill it: convert it to PNG"
    return ""


def _color_table(flags):
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


_BMP_HEADERS = [size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124)]
_USUAL_MASKS = b"\0\0\xff\0" + b"\0\xff\0\0" + b"\xff\0\0\0"


def _bmp_problem(file):
    """TensorFlow decodes these BMPs, to wrong colors: it looks at neither palette nor masks."""
    header, bits = int.from_bytes(file[14:18], "little"), int.from_bytes(file[28:30], "little")
    compression = int.from_bytes(file[30:34], "little")
    if header < 40 or compression not in (0, 3):
        return "is a BMP of a rare kind: convert it to JPEG or PNG"
    palette = file[14 + header : 14 + header + 1024]
    if bits == 8 and any(palette[color::4] != bytes(range(256)) for color in range(3)):
        return "is a BMP with a palette: convert it to PNG"
    if bits not in (8, 24, 32) or (compression == 3 and file[54:66] != _USUAL_MASKS):
        return f"is a BMP of a rare kind, {bits} bits a pixel: convert it to PNG"
    return ""


def _jpeg_segments(file):
    """(marker, place) of the segments before the pixels; the last is 0xDA, where the pixels begin."""
    at = 2
    while at + 9 < len(file) and file[at] == 0xFF:
        if file[at + 1] == 0xFF:  # any number of these may stand before a marker
            at += 1
            continue
        yield file[at + 1], at
        if file[at + 1] == 0xDA:
            return
        at += 2 + int.from_bytes(file[at + 2 : at + 4], "big")


def _jpeg_problem(file):
    for marker, at in _jpeg_segments(file):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame header
            if file[at + 4] != 8:
                return f"is a JPEG of {file[at + 4]} bits, where 8 are usual: convert it to PNG"
            if marker > 0xC2:  # not all of these decode, and none decodes everywhere
                return "is a JPEG of a rare kind (lossless, hierarchical or arithmetic): convert it to PNG"
    return ""


def _damage(kind, file):
    if kind == "JPEG":
        end = next((at for marker, at in _jpeg_segments(file) if marker == 0xDA), None)
        return "is a damaged JPEG" if end is not None and file.find(b"\xff\xd9", end) > 0 else "ends early"
    if kind == "PNG":
        return "ends early" if b"IEND\xaeB`\x82" not in file[-1024:] else "is a damaged PNG"
    if kind == "GIF":
        return "ends early" if b";" not in file[-16:] else "is a damaged GIF"
    return "ends early" if len(file) < int.from_bytes(file[2:6], "little") else "is a damaged BMP"
