"""Every kind of image file is used, with the right pixels on every way to the network, or refused with the reason."""

import io
import os
import time
import tracemalloc
import zlib
from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras.data.files import image_file
from simclr_keras.data.files.image_file import FileCheck, check_bytes, problem_of
from simclr_keras.data.views import crop
from simclr_keras.preprocess import decode, evaluation_view


def picture(height=60, width=90):
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 17), np.cos(y / 23), np.sin((x + y) / 31)]
    return np.uint8(128 + 100 * np.stack(waves, axis=-1))


PICTURE = picture()


def saved(form, mode="RGB", image=None, **settings):
    buffer = io.BytesIO()
    image = Image.fromarray(PICTURE) if image is None else image
    image.convert(mode).save(buffer, form, **settings)
    return buffer.getvalue()


def rgb(file):
    """Pillow's opinion of the first frame."""
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"), np.int32)


def chunk(kind, content):
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def png(width, height, rows, depth=8, color=2):
    """A PNG of these filtered rows, whatever its header claims."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, color, 0, 0, 0])
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def frames():
    return [Image.fromarray(np.roll(PICTURE, 20 * i, axis=1)) for i in range(3)]


def animation(form):
    first, *others = frames()
    buffer = io.BytesIO()
    first.save(buffer, form, save_all=True, append_images=others)
    return buffer.getvalue()


def frame_header(file):
    return next(i for i in range(len(file)) if file[i : i + 2] in (b"\xff\xc0", b"\xff\xc2"))


def with_frame_header(file, marker=None, bits=8, height=None, width=None):
    at = frame_header(file)
    changed = bytearray(file)
    changed[at + 1] = marker or file[at + 1]
    changed[at + 4] = bits
    for place, value in ((at + 5, height), (at + 7, width)):
        if value is not None:
            changed[place : place + 2] = value.to_bytes(2, "big")
    return bytes(changed)


def ycck():
    """The CMYK file, said by its Adobe segment to hold YCCK."""
    file = bytearray(saved("JPEG", "CMYK"))
    file[file.index(b"Adobe") + 11] = 2
    return bytes(file)


def bmp(bits=32, compression=3, masks=(0xFF0000, 0xFF00, 0xFF)):
    """The picture as a BMP with masks behind its header."""
    numbers = b"".join(n.to_bytes(4, "little") for n in masks)
    pixels = np.concatenate([PICTURE[::-1, :, ::-1], np.zeros((60, 90, 1), np.uint8)], axis=-1).tobytes()
    parts = [40, 90, 60, 1 | bits << 16, compression, len(pixels), 0, 0, 0, 0]
    header = b"".join(n.to_bytes(4, "little") for n in parts)
    size = 14 + len(header) + len(numbers) + len(pixels)
    start = b"BM" + size.to_bytes(4, "little") + bytes(4) + (26 + len(header)).to_bytes(4, "little")
    return start + header + numbers + pixels


def os2_bmp():
    sizes = b"".join(n.to_bytes(2, "little") for n in (90, 60, 1, 24))
    pixels = PICTURE[::-1, :, ::-1].reshape(60, 270)
    pixels = np.pad(pixels, [(0, 0), (0, 2)]).tobytes()
    # To a reader that expects a longer header these say 24 bits, without compression.
    pixels = b"\0\0" + (24).to_bytes(2, "little") + bytes(4) + pixels[8:]
    size = (26 + len(pixels)).to_bytes(4, "little")
    return b"BM" + size + bytes(4) + (26).to_bytes(4, "little") + (12).to_bytes(4, "little") + sizes + pixels


DEEP = PICTURE.astype(np.uint16) * 256 + np.arange(90, dtype=np.uint16)[:, None]
GRAY = PICTURE[..., :1].repeat(3, axis=-1)
JPEG, PNG, BMP = (saved(form) for form in ("JPEG", "PNG", "BMP"))

# Name: bytes, right pixels, largest difference from them. Two JPEG decoders round apart.
USED = {
    "JPEG": (JPEG, rgb(JPEG), 4),
    "gray JPEG": (saved("JPEG", "L"), rgb(saved("JPEG", "L")), 2),
    "progressive JPEG": (saved("JPEG", progressive=True), rgb(JPEG), 4),
    "CMYK JPEG": (saved("JPEG", "CMYK"), rgb(saved("JPEG", "CMYK")), 3),
    "YCCK JPEG": (ycck(), rgb(ycck()), 8),
    "JPEG with bytes behind its end": (JPEG + b"more" * 50, rgb(JPEG), 4),
    "PNG": (PNG, PICTURE, 0),
    "palette PNG": (saved("PNG", "P"), rgb(saved("PNG", "P")), 0),
    "palette PNG, one color transparent": (
        saved("PNG", "P", transparency=3),
        rgb(saved("PNG", "P", transparency=3)),
        0,
    ),
    "1-bit PNG": (saved("PNG", "1"), rgb(saved("PNG", "1")), 0),
    "gray PNG": (saved("PNG", "L"), rgb(saved("PNG", "L")), 0),
    "gray and alpha PNG": (saved("PNG", "LA"), rgb(saved("PNG", "LA")), 0),
    "PNG with alpha": (saved("PNG", "RGBA"), PICTURE, 0),
    "16-bit PNG": (tf.io.encode_png(DEEP).numpy(), PICTURE, 0),
    "16-bit PNG with alpha": (
        tf.io.encode_png(np.concatenate([DEEP, DEEP[..., :1]], axis=-1)).numpy(),
        PICTURE,
        0,
    ),
    "16-bit gray PNG": (tf.io.encode_png(DEEP[..., :1]).numpy(), GRAY, 0),
    "animated PNG": (animation("PNG"), PICTURE, 0),
    "BMP": (BMP, PICTURE, 0),
    "BMP with alpha": (saved("BMP", "RGBA"), PICTURE, 0),
    "gray BMP": (saved("BMP", "L"), rgb(saved("BMP", "L")), 0),
    "JPEG with fill bytes": (JPEG[:2] + b"\xff" * 5 + JPEG[2:], rgb(JPEG), 4),
}

HUGE = "is too large: 60000 x 60000 pixels, the limit is 178,956,970"
RARE = "is a JPEG of a rare kind (lossless, hierarchical or arithmetic): convert it to PNG"
RARE_BMP = "is damaged, incomplete or of a rare kind (a file of format BMP)"
UNKNOWN = "is not an image of a known format"
DAMAGED_JPEG, DAMAGED_PNG, DAMAGED_BMP = (
    f"is damaged or incomplete (a {kind})" for kind in ("JPEG", "PNG", "BMP")
)


def changed(file, at, byte):
    return file[:at] + bytes([file[at] ^ byte]) + file[at + 1 :]


REFUSED = {
    "empty": (b"", "is empty"),
    "text": (b"not an image at all", UNKNOWN),
    "zeros": (bytes(5000), UNKNOWN),
    "web page": (b"<!DOCTYPE html><html>404</html>", UNKNOWN),
    "text that begins like a BMP": (b"BM, said the letter, and then a good deal more", UNKNOWN),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "is a JPEG 2000 image: convert it to JPEG or PNG"),
    "JPEG cut in its pixels": (JPEG[:-200], DAMAGED_JPEG),
    "JPEG without its last byte": (JPEG[:-1], DAMAGED_JPEG),
    "JPEG cut in its tables": (JPEG[:100], DAMAGED_JPEG),
    "start of a JPEG": (b"\xff\xd8\xff", DAMAGED_JPEG),
    "JPEG without tables": (JPEG[:20] + JPEG[frame_header(JPEG) :], DAMAGED_JPEG),
    "12-bit JPEG": (
        with_frame_header(JPEG, bits=12),
        "is a JPEG of 12 bits, where 8 are usual: convert it to PNG",
    ),
    "lossless JPEG": (with_frame_header(JPEG, marker=0xC3), RARE),
    "arithmetic JPEG": (with_frame_header(JPEG, marker=0xC9), RARE),
    "lossless JPEG behind fill bytes": (b"\xff\xd8\xff\xff" + with_frame_header(JPEG, marker=0xC3)[2:], RARE),
    "JPEG bomb": (with_frame_header(JPEG, height=60000, width=60000), HUGE),
    "JPEG of no height": (with_frame_header(JPEG, height=0), DAMAGED_JPEG),
    "PNG cut in its pixels": (PNG[: len(PNG) // 2], DAMAGED_PNG),
    "PNG without its last byte": (PNG[:-1], DAMAGED_PNG),
    "start of a PNG": (PNG[:8], DAMAGED_PNG),
    "PNG with a wrong byte": (changed(PNG, len(PNG) // 2, 0xFF), DAMAGED_PNG),
    "PNG bomb": (png(60000, 60000, bytes(1000)), HUGE),
    "PNG of no size": (png(0, 0, b""), DAMAGED_PNG),
    "PNG wider than its pixels": (png(5000, 1, bytes(10)), DAMAGED_PNG),
    "BMP with rare masks": (bmp(masks=(0xFF, 0xFF00, 0xFF0000)), RARE_BMP),
    "RLE BMP without its end": (bmp(8, compression=1)[:500], RARE_BMP),
    "BMP cut in its pixels": (BMP[:5000], DAMAGED_BMP),
    "BMP bomb": (BMP[:18] + (60000).to_bytes(4, "little") * 2 + BMP[26:], HUGE),
}


@pytest.mark.slow
def test_usable_files_give_right_pixels():
    offenders = {}
    crops = crop.CropDraws(*(u[0] for u in crop.draw_crops(0, 1, 1, 2)))
    for name, (file, expected, tolerance) in USED.items():
        pixels = decode(file).numpy()
        differences = [np.abs(pixels.astype(int) - expected).max() - tolerance]
        for config in (crop.CropConfig(), crop.CropConfig(random_crop=False, flip_probability=0.0)):
            made = crop.make_views(tf.constant(file), crops, 48, config, encoded=True).numpy().astype(int)
            right = crop.make_views(np.uint8(expected), crops, 48, config).numpy()
            # at the borders of a window the colors of a JPEG are smoothed differently
            differences.append(np.abs(made - right).max() - (tolerance and tolerance + 6))
        view = evaluation_view(pixels, 48).numpy() * 255
        differences.append(np.abs(made - view).max() - (1 if tolerance == 0 else 6))
        problem = check_bytes(file).problem
        if problem or max(differences) > 0:
            offenders[name] = problem, differences
    assert not offenders


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "image.jpg"
    offenders = {}
    for name, (file, problem) in REFUSED.items():
        path.write_bytes(file)
        problems = check_bytes(file).problem, problem_of(str(path))
        if problems != (problem, problem):
            offenders[name] = problems
    assert not offenders


def test_any_extension_fits_any_format(tmp_path):
    offenders = []
    for extension in image_file.EXTENSIONS:
        for file in (JPEG, PNG, BMP):
            path = tmp_path / f"image{extension}"
            path.write_bytes(file)
            if problem_of(str(path)):
                offenders.append((extension, file[:4]))
    assert not offenders


def test_bombs_are_refused_by_their_header(monkeypatch):
    def fail(file):
        raise AssertionError("decoded")

    monkeypatch.setattr(image_file, "_decode", fail)
    bombs = [file for name, (file, _) in REFUSED.items() if "bomb" in name]
    assert [check_bytes(file).problem for file in bombs] == [HUGE] * 3


def test_pixel_limit_is_exact(monkeypatch):
    monkeypatch.setattr(image_file, "MOST_PIXELS", 60 * 90)
    assert check_bytes(JPEG).problem == ""
    monkeypatch.setattr(image_file, "MOST_PIXELS", 60 * 90 - 1)
    assert check_bytes(JPEG).problem == "is too large: 90 x 60 pixels, the limit is 5,399"


def test_damage_anywhere_is_a_reason_never_an_error(capfd):
    rng = np.random.default_rng(0)
    crops = crop.CropDraws(*(u[0] for u in crop.draw_crops(0, 1, 1, 2)))
    make = tf.function(
        lambda data: crop.make_views(data, crops, 16, crop.CropConfig(), encoded=True),
        autograph=False,
        input_signature=[tf.TensorSpec([], tf.string)],
    )
    for name in ("JPEG", "progressive JPEG", "CMYK JPEG", "PNG", "BMP"):
        file, refused = USED[name][0], 0
        for _ in range(15):
            damaged = bytearray(file)
            for at in rng.integers(0, len(file), 3):
                damaged[at] = rng.integers(0, 256)
            damaged = bytes(damaged[: rng.integers(len(file) // 2, 2 * len(file))])
            if check_bytes(damaged).problem:
                refused += 1
            else:  # the network can train on it
                assert make(damaged).shape == (2, 16, 16, 3), name
        assert refused > 1, name
    capfd.readouterr()


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "zeros.jpg"
    too_large = f"is too large: {2**38:,} bytes, the limit is 715,827,880"
    tracemalloc.start()
    for start, problem in ((b"", UNKNOWN), (JPEG, too_large)):
        path.write_bytes(start)
        os.truncate(path, 2**38)
        assert problem_of(str(path)) == problem
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_lack_of_memory_is_named(tmp_path, monkeypatch):
    def full(file):
        raise MemoryError

    (tmp_path / "image.png").write_bytes(PNG)
    monkeypatch.setattr(image_file, "_decoded", full)
    assert problem_of(str(tmp_path / "image.png")) == "does not fit into memory"


@pytest.mark.parametrize("large", [60 * 90, 60 * 90 + 1])
def test_large_images_are_decoded_one_at_a_time(large, monkeypatch):
    running, most = [], []

    def decode_slowly(file):
        running.append(file)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr(image_file, "_LARGE", large)
    monkeypatch.setattr(image_file, "_decode", decode_slowly)
    with ThreadPool(4) as pool:
        assert pool.map(check_bytes, [PNG] * 8, chunksize=1) == [FileCheck("", is_constant=True)] * 8
    assert (max(most) == 1) == (large == 60 * 90)
