"""The evaluation preprocessing in words, and as code for NumPy and Pillow, in the README.md of an export."""

_STEPS = """## Images

RGB, float32 in [0, 1]; there is no mean or standard deviation step. For evaluation, images were prepared so:

1. Decode the file into 8-bit RGB, turned upright if a JPEG's EXIF has an orientation. An alpha channel is dropped. Of
   16 bits, the upper 8 are used, or the lower 8 if all upper ones are 0. Of colors, Pillow reads the upper ones alone.
2. Take {window}.
3. Resize it to {size} x {size} by bicubic interpolation (Keys' kernel, a = -0.5). {antialias}
4. Divide by 255 and clip to [0, 1]. Nothing is rounded to 8 bits in between.

{code}

On the same decoded pixels, this function and the network's own preprocessing agree within 0.001, a quarter of an
8-bit level. JPEG decoders differ from each other by a few levels."""

_ANTIALIAS = {
    False: """It does not antialias: each pixel comes
   from the nearest 4 x 4 pixels, however much the image shrinks, as in the SimCLR release. The `resize` of Pillow and
   of many other libraries antialiases: photos that shrink to a third differ by 3 of 255 levels on average, at edges by
   80. Use the function below instead.""",
    True: """It antialiases: if the image shrinks,
   the kernel widens, so that all pixels count. `image.resize(({size}, {size}), Image.BICUBIC)` of Pillow does the same
   after step 2, but rounds to 8 bits after each axis: 0.3 of 255 levels on average, a few levels at sharp edges.""",
}

_CODE = """```python
import numpy as np
from PIL import Image, ImageOps


def prepare(path, size={size}):
    image = Image.open(path)
    if image.format != "PNG":  # these are taken as stored
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # gray of 16 bits; some files use only the lower 8
        pixels = np.asarray(image)
        image = Image.fromarray((pixels >> (8 if pixels.max() > 255 else 0)).astype(np.uint8))
    image = image.convert("RGB"){crop}
    pixels = np.asarray(image) / 255
    for length in pixels.shape[:2]:  # along the height, then along the width
        centers = (np.arange(size)[:, None] + 0.5) * length / size - 0.5
        x = np.abs(np.arange(length) - centers){widened}
        near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
        weights = np.where(x < 1, near, np.where(x < 2, far, 0))
        pixels = np.tensordot(pixels, weights / weights.sum(axis=1, keepdims=True), (0, 1))
    return np.clip(np.moveaxis(pixels, 0, 2), 0, 1).astype(np.float32)
```"""
_CROP = """
    side = round({proportion:g} * min(image.size))
    left, top = ((length - side + 1) // 2 for length in image.size)
    image = image.crop((left, top, left + side, top + side))"""
_WIDENED = " / max(length / size, 1)  # a wider kernel if the image shrinks"

_FROM_BYTES = """

The signatures `NAME_from_bytes` do this preprocessing: their input `image_bytes` is a batch of JPEG, PNG, BMP or GIF
files, such as `tf.constant([open(name, "rb").read()])`. If one is none of these, the whole batch fails."""


def images_section(card: dict) -> str:
    """Return the section on the images. card: content of card.json."""
    size, how = card["image_size"], card["preprocessing"]
    proportion, antialias = how["crop_proportion"], how["antialias"]
    code = _CODE.format(
        size=size,
        crop=_CROP.format(proportion=proportion) if proportion else "",
        widened=_WIDENED if antialias else "",
    )
    text = _STEPS.format(
        window=f"the central {proportion:.1%} of the shorter side, a square"
        if proportion
        else "the whole image",
        size=size,
        antialias=_ANTIALIAS[antialias].format(size=size),
        code=code,
    )
    inside = how.get("encoder_range")
    if inside:
        low_high = f"`{inside}`" if isinstance(inside, str) else f"{inside[0]} to {inside[1]}"
        text += f" The network itself brings the pixels to the range that its encoder takes, {low_high}."
    return text + (_FROM_BYTES if any(file.get("decode_images") for file in card["files"]) else "")
