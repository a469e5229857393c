"""The pixels that a header claims are those of the image, whatever its format."""

import io

import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras.export.formats.pixel_limit import within_limit


def files():
    """The same 300 x 7 pixels in every format that is decoded."""
    for kind in ("PNG", "JPEG", "BMP", "GIF"):
        file = io.BytesIO()
        Image.new("RGB", (300, 7)).save(file, kind)
        yield kind, file.getvalue()
        if kind == "BMP":  # stored from the top
            yield kind, file.getvalue()[:22] + (2**32 - 7).to_bytes(4, "little") + file.getvalue()[26:]


def test_pixels_of_every_format():
    specs = [tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int64)]
    limit = tf.function(lambda file, most: within_limit(file, most), input_signature=specs)
    for kind, file in files():
        assert limit(file, 2100).numpy() == file, kind
        with pytest.raises(tf.errors.InvalidArgumentError, match="an image is too large"):
            limit(file, 2099)


@pytest.mark.slow
def test_other_bytes_are_left_to_the_decoder():
    for file in (b"", b"no image", b"\x89PNG", b"BM"):
        assert within_limit(tf.constant(file)).numpy() == file
