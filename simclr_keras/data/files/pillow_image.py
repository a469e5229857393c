"""Images that TensorFlow does not decode, or not in every version: Pillow decodes them into 8-bit RGB."""

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

# Format: its name in Pillow, the decoder that some builds of Pillow lack, and the package with the decoder.
_FORMATS = {
    "AVIF": ("AVIF", "avif", "--upgrade pillow"),
    "BMP": ("BMP", None, "pillow"),
    "GIF": ("GIF", None, "pillow"),
    "HEIC": ("HEIF", None, "pillow-heif"),
    "TIFF": ("TIFF", None, "pillow"),
    "WebP": ("WEBP", "webp", "--upgrade pillow"),
}
_PHOTOMETRIC, _ORIENTATION = 0x0106, 0x0112  # tags
# EXIF orientation: Pillow's transposition that turns the image upright.
_TURNS = {
    **{2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"},
    **{6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"},
}


class UndecodableError(Exception):
    """Report why Pillow cannot decode an image: words that follow the name of the file."""


def open_picture(file: bytes, kind: str) -> "Image.Image":
    """Return the image of a file, not yet decoded; its `size` is (width, height).

    Args:
        kind: "AVIF", "BMP", "GIF", "HEIC", "TIFF" or "WebP".

    Raises:
        UndecodableError: the decoder is missing, or the file is damaged or too large.
    """
    name, decoder, package = _FORMATS[kind]
    missing = UndecodableError(f"needs a decoder for {kind} images: pip install {package}")
    try:
        from PIL import Image, features

        if kind == "HEIC":
            import pillow_heif

            pillow_heif.register_heif_opener()
    except ImportError:
        raise missing from None
    if decoder and not features.check(decoder):
        raise missing
    try:
        return Image.open(io.BytesIO(file), formats=[name])
    except Image.DecompressionBombError:
        raise UndecodableError(f"is too large: more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except MemoryError:
        raise
    except Exception:  # decoders raise a dozen kinds
        raise _damage(kind) from None


def decode_picture(file: bytes, kind: str) -> np.ndarray:
    """Return the first frame or page of an image file as uint8 [height, width, 3], turned upright by its EXIF.

    Alpha is dropped. 16-bit grays keep their upper 8 bits, or the lower ones if all upper ones are 0, as in
    `preprocess.decode_deep_png`. A damaged EXIF counts as none, as in a JPEG.

    Raises:
        UndecodableError: the decoder is missing, the file is damaged, or its pixels are floats, signed, of 32 bits, or
            of 16 bits with 0 as white.
    """
    picture = open_picture(file, kind)
    from PIL import Image

    try:
        picture.load()
        # Pillow reads these as they are, but inverts such images of 8 bits.
        is_negative = picture.mode == "I;16" and getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == 0
        if turn := _turn(picture):
            picture = picture.transpose(Image.Transpose[turn])
        pixels = np.asarray(picture if picture.mode[0] in "IF" else picture.convert("RGB"))
    except MemoryError:
        raise
    except Exception:
        raise _damage(kind) from None
    if pixels.ndim == 3:
        return pixels
    if picture.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise UndecodableError(f"is a {kind} with pixels of 32 bits or a sign: save it with 8 or 16 bits")
    if is_negative:
        raise UndecodableError(f"is a {kind} of 16 bits in which 0 is white: save it with 0 as black")
    gray = (pixels >> (0 if pixels.max() < 256 else 8)).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=-1)


def _turn(picture):
    try:
        return _TURNS.get(picture.getexif().get(_ORIENTATION))
    except Exception:  # its EXIF is damaged
        return None


def _damage(kind):
    return UndecodableError(f"is damaged, incomplete or of a rare kind (a file of format {kind})")
