"""EXIF orientation: all eight, both byte orders, wherever the segment stands, and nothing from damaged ones."""

import io
import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from simclr_keras import orientation, preprocess

ORIENTATIONS = range(1, 9)


def _picture(height=24, width=40):
    y, x = np.mgrid[0:height, 0:width]
    return np.uint8(np.stack([5 * x, 9 * y, 3 * (x + y)], axis=-1))


def jpeg(image=None, **settings):
    """A JPEG without EXIF whose pixels do not depend on their neighbors' color."""
    buffer = io.BytesIO()
    image = _picture() if image is None else image
    Image.fromarray(image).save(buffer, "JPEG", quality=95, subsampling=0, **settings)
    return buffer.getvalue()


def segment(marker, payload):
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def exif(value, order="little", kind=3, place=8, others=1, count=1):
    """An APP1 segment whose first directory has the orientation `value` behind `others` other entries."""

    def number(x, size):
        return x.to_bytes(size, order)

    entries = [number(0x010F, 2) + number(2, 2) + number(4, 4) + b"abc\0"] * others
    value = number(value, 4) if kind == 4 else number(value, 2) + b"\0\0"
    entries.append(number(0x0112, 2) + number(kind, 2) + number(count, 4) + value)
    tiff = (b"II" if order == "little" else b"MM") + number(42, 2) + number(place, 4) + bytes(place - 8)
    return segment(0xE1, b"Exif\0\0" + tiff + number(len(entries), 2) + b"".join(entries) + number(0, 4))


def with_segments(file, *segments, after_jfif=False):
    at = 20 if after_jfif else 2
    return file[:at] + b"".join(segments) + file[at:]


READ = tf.function(orientation.exif_orientation, input_signature=[tf.TensorSpec([], tf.string)])


def test_decoded_jpegs_are_turned_as_pillow_turns_them():
    decode, as_stored = tf.function(preprocess.decode), preprocess.decode(jpeg())
    for value, order in itertools.product(ORIENTATIONS, ("little", "big")):
        file = with_segments(jpeg(), exif(value, order))
        assert READ(file).numpy() == value
        expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))
        found = decode(tf.constant(file)).numpy()
        assert found.shape == expected.shape == ((24, 40, 3) if value < 5 else (40, 24, 3))
        # two decoders round apart
        assert np.abs(found.astype(int) - expected).max() <= 8
        np.testing.assert_array_equal(found, orientation.upright(as_stored, tf.constant(value)))


ICC = [segment(0xE2, b"ICC_PROFILE\0" + bytes(65_000))] * 20
XMP = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x>Exif</x>")
COMMENT = segment(0xFE, b"made by hand")


def test_the_segment_is_found_wherever_it_stands_among_the_first():
    for before, after_jfif in [
        ([], True),
        ([XMP], False),
        (ICC, False),
        ([COMMENT, *ICC, XMP], True),
        ([segment(0xED, b"")], True),
    ]:
        assert READ(with_segments(jpeg(), *before, exif(6), after_jfif=after_jfif)).numpy() == 6


def test_the_orientation_may_be_a_long_number():
    for order in ["little", "big"]:
        for value in ORIENTATIONS:
            assert READ(with_segments(jpeg(), exif(value, order, kind=4))).numpy() == value


@pytest.mark.parametrize("after_jfif", [False, True])
def test_fill_bytes_may_stand_before_a_marker(after_jfif):
    file = with_segments(jpeg(), b"\xff" * 3, XMP, b"\xff" * 40, exif(6), after_jfif=after_jfif)
    assert READ(file).numpy() == 6
    assert np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file)))).shape == (40, 24, 3)


def test_the_directory_may_lie_anywhere_in_the_segment():
    assert READ(with_segments(jpeg(), exif(3, place=900, others=40))).numpy() == 3


def _damaged():
    whole = exif(6)
    yield "value 0", with_segments(jpeg(), exif(0))
    yield "value 9", with_segments(jpeg(), exif(9))
    yield "value 65535", with_segments(jpeg(), exif(65535, "big"))
    for order in ("little", "big"):
        for value in (6 * 65536 + 6, 6 * 65536, 2**32 - 1):
            yield f"long {value} {order}", with_segments(jpeg(), exif(value, order, kind=4))
    yield "two values", with_segments(jpeg(), exif(6, count=2))
    yield "rational", with_segments(jpeg(), exif(6, kind=5))
    yield "no byte order", with_segments(jpeg(), whole.replace(b"II*\0", b"IX*\0"))
    for place in (0, 7, 60_000, 2**31, 2**32 - 1):
        away = whole.replace(b"II*\0\x08\0\0\0", b"II*\0" + place.to_bytes(4, "little"))
        yield f"directory at {place}", with_segments(jpeg(), away)
    yield "no directory", with_segments(jpeg(), segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0"))
    yield "nothing", with_segments(jpeg(), segment(0xE1, b"Exif\0\0"))
    yield "a segment of length 0", with_segments(jpeg(), b"\xff\xe1\0\0Exif\0\0")
    yield "a segment of length 1", with_segments(jpeg(), b"\xff\xe0\0\x01", whole)
    yield "many empty segments", with_segments(jpeg(), b"\xff\xe0\0\x02" * 5000, whole)
    yield "behind a table", jpeg()[:-2] + whole + b"\xff\xd9"
    yield "a PNG", tf.io.encode_png(_picture()).numpy() + whole
    for text in (b"", b"\xff", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xe1\0\x20Exif\0\0"):
        yield f"{len(text)} bytes", text


def test_damaged_exif_is_taken_as_upright():
    assert [name for name, file in _damaged() if READ(file).numpy() != 1] == []


def test_no_cut_and_no_changed_byte_of_exif_is_an_error():
    rng = np.random.default_rng(0)
    whole = with_segments(jpeg()[:100], exif(6, "big", others=3))
    found = [READ(whole[:length]).numpy() for length in range(len(whole))]
    for _ in range(300):
        changed = bytearray(whole)
        for at in rng.integers(2, len(whole), 3):
            changed[at] = rng.integers(0, 256)
        found.append(READ(bytes(changed)).numpy())
    assert set(found) <= set(ORIENTATIONS)
    assert 6 in found


@pytest.mark.parametrize("value", ORIENTATIONS)
def test_a_stored_window_turned_is_the_window_of_the_turned_image(value):
    image, value = tf.constant(_picture(24, 40)), tf.constant(value)
    turned = orientation.upright(image, value).numpy()
    np.testing.assert_array_equal(orientation.upright_shape(tf.constant([24, 40]), value), turned.shape[:2])
    for window in ([0, 0, 5, 7], [3, 10, 12, 9], [*np.array(turned.shape[:2]) - (4, 2), 4, 2]):
        place = orientation.stored_window(tf.constant(window, tf.int32), value, tf.constant([24, 40])).numpy()
        part = image[place[0] : place[0] + place[2], place[1] : place[1] + place[3]]
        expected = turned[window[0] : window[0] + window[2], window[1] : window[1] + window[3]]
        np.testing.assert_array_equal(orientation.upright(part, value), expected)
