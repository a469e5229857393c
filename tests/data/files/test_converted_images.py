"""Images of formats that TensorFlow does not decode: their PNG copies have Pillow's pixels, and are made once."""

import io
import os
import shutil
import sys
from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from simclr_keras.data.content_hash import hash_of
from simclr_keras.data.files import image_file
from simclr_keras.data.files.image_file import check_bytes
from simclr_keras.data.files.manifest import Manifest, stamps_of
from simclr_keras.data.files.pillow_image import decode_picture
from simclr_keras.data.files.verify_images import verify_file
from simclr_keras.errors import TrainingError
from simclr_keras.preprocess import decode
from simclr_keras.tools.images.find_images import find_images
from simclr_keras.tools.images.open_images import open_images
from tests.data.files.test_image_file import DEEP, GRAY, PICTURE, animation, os2_bmp, saved
from tests.data.pictures import flat, load

TURNED = Image.Exif()
TURNED[0x0112] = 6
LOW = Image.fromarray(PICTURE[..., 0].astype(np.uint16))  # 0 to 255 in 16 bits


def _deep_tiff(image, order="big", photometric=1):
    """A 16-bit gray TIFF: entries of its directory, then the pixels."""
    tags = (
        (256, 90),
        (257, 60),
        (258, 16),
        (259, 1),
        (262, photometric),
        (273, 200),
        (277, 1),
        (278, 60),
        (279, 10800),
    )
    entries = b"".join(
        b"".join(number.to_bytes(size, order) for number, size in ((tag, 2), (4, 2), (1, 4), (value, 4)))
        for tag, value in tags
    )
    start = b"MM\0*\0\0\0\x08" if order == "big" else b"II*\0\x08\0\0\0"
    pixels = image.astype(">u2" if order == "big" else "<u2").tobytes()
    return (start + len(tags).to_bytes(2, order) + entries).ljust(200, b"\0") + pixels


def _rle_bmp():
    """A palette BMP of 4 x 2 pixels in runs."""
    palette = bytes(range(0, 240, 15)) * 64
    runs = bytes([4, 9, 0, 0, 2, 3, 2, 8, 0, 1])
    fields = (
        (40, 4),
        (4, 4),
        (2, 4),
        (1, 2),
        (8, 2),
        (1, 4),
        (len(runs), 4),
        (0, 4),
        (0, 4),
        (256, 4),
        (0, 4),
    )
    header = b"".join(value.to_bytes(size, "little") for value, size in fields)
    offset = 14 + len(header) + len(palette)
    return (
        (b"BM" + (offset + len(runs)).to_bytes(4, "little") + bytes(4) + offset.to_bytes(4, "little"))
        + header
        + palette
        + runs
    )


# Name: bytes of the file, and its pixels if Pillow's convert("RGB") has no rule for them.
FILES = {
    "lossy.webp": (saved("WEBP"), None),
    "lossless.webp": (saved("WEBP", "RGBA", lossless=True), None),
    "turned.webp": (saved("WEBP", exif=TURNED), None),
    "damaged_exif.webp": (saved("WEBP", lossless=True, exif=b"Exif\0\0garbage"), PICTURE),
    "animated.webp": (animation("WEBP"), None),
    "a.tif": (saved("TIFF"), PICTURE),
    "lzw.tiff": (saved("TIFF", compression="tiff_lzw"), PICTURE),
    "palette.tif": (saved("TIFF", "P"), None),
    "cmyk.tif": (saved("TIFF", "CMYK"), None),
    "alpha.tif": (saved("TIFF", "LA"), None),
    "turned.tif": (saved("TIFF", exif=TURNED), None),
    "deep.tif": (saved("TIFF", "I;16", Image.fromarray(DEEP[..., 0])), GRAY),
    "big_endian.tif": (_deep_tiff(DEEP[..., 0]), GRAY),
    "low.tif": (saved("TIFF", "I;16", LOW), GRAY),
    "a.avif": (saved("AVIF"), None),
    "a.gif": (saved("GIF"), None),
    "animated.gif": (animation("GIF"), None),
    "palette.bmp": (saved("BMP", "P"), None),
    "one_bit.bmp": (saved("BMP", "1"), None),
    "os2.bmp": (os2_bmp(), None),
    "rle.bmp": (_rle_bmp(), None),
    "webp_called.jpg": (saved("WEBP", lossless=True), PICTURE),
}
AS_THEY_ARE = {"lossy.webp"} if image_file._TENSORFLOW_READS_WEBP else set()


def _pillow(file):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB"))


def _write(folder, names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(FILES[name][0])


def _pixels(source):
    return {name: decode(source.fetch(row)).numpy() for row, name in enumerate(source.ids)}


def test_pixels_equal_pillows(tmp_path):
    _write(tmp_path, FILES)
    splits = load(tmp_path)
    assert splits.unreadable == ()
    images, offenders = _pixels(splits.train), []
    for name, (file, pixels) in FILES.items():
        if not np.array_equal(images[name], _pillow(file) if pixels is None else pixels):
            offenders.append(name)
    assert not offenders
    assert len(images) == len(FILES)
    (note,) = splits.notes
    assert note.startswith(f"{len(FILES) - len(AS_THEY_ARE)} images in {tmp_path} are converted to PNG, in ")
    # Splits depend on the files that people have, not on the copies.
    hashes = dict(zip(splits.train.ids, splits.train.content_hashes.tolist()))
    assert hashes == {name: hash_of(file) for name, (file, _) in FILES.items()}


def test_first_picture_of_an_mpo_is_read_as_it_is(tmp_path):
    first, second = Image.fromarray(PICTURE), Image.fromarray(PICTURE[::-1])
    first.save(tmp_path / "a.mpo", save_all=True, append_images=[second])
    shutil.copy(tmp_path / "a.mpo", tmp_path / "b.jpg")
    splits = load(tmp_path)
    assert splits.notes == ()
    for image in _pixels(splits.train).values():  # two JPEG decoders round apart
        np.testing.assert_allclose(
            image.astype(int), _pillow((tmp_path / "a.mpo").read_bytes()).astype(int), atol=4
        )


def test_heic_equals_pillows(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    (tmp_path / "a.heic").write_bytes(saved("HEIF"))
    flat(tmp_path, 1)
    images = _pixels(load(tmp_path).train)
    np.testing.assert_array_equal(images["a.heic"], _pillow((tmp_path / "a.heic").read_bytes()))


def test_missing_decoder_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for brand in (b"heic", b"mif1"):
        problem = check_bytes(b"\0\0\0\x18ftyp" + brand + bytes(40)).problem
        assert problem == "needs a decoder for HEIC images: pip install pillow-heif"
    monkeypatch.setitem(sys.modules, "PIL", None)
    problem = check_bytes(FILES["a.gif"][0]).problem
    assert problem == "needs a decoder for GIF images: pip install pillow"


def test_older_tensorflow_gives_webp_the_same_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(image_file, "_TENSORFLOW_READS_WEBP", False)
    _write(tmp_path, ["lossy.webp"])
    splits = load(tmp_path)
    assert "converted" in splits.notes[0]
    np.testing.assert_array_equal(_pixels(splits.train)["lossy.webp"], _pillow(FILES["lossy.webp"][0]))


def test_copies_are_made_once_and_again_if_deleted(tmp_path, cache, tried):
    _write(tmp_path, ["a.tif", "a.gif"])
    flat(tmp_path, 1)
    first = load(tmp_path, memory_limit=0)
    (copies,) = cache.glob("*-converted")
    assert sorted(tried) == ["0.png", "a.gif", "a.tif"]
    tried.clear()
    next(copies.iterdir()).unlink()
    second = load(tmp_path, memory_limit=0)
    assert len(tried) == 1
    shutil.rmtree(copies)
    tried.clear()
    third = load(tmp_path, memory_limit=0)
    assert sorted(tried) == ["a.gif", "a.tif"]
    tried.clear()
    load(tmp_path)
    assert tried == []
    images = [_pixels(splits.train) for splits in (first, second, third)]
    for name in images[0]:
        np.testing.assert_array_equal(images[0][name], images[1][name])
        np.testing.assert_array_equal(images[0][name], images[2][name])
    assert first.train.fingerprint() == third.train.fingerprint()


def test_interrupted_conversion_continues(tmp_path, load_interrupted):
    _write(tmp_path, FILES)
    load_interrupted(tmp_path, 5)
    # Files that are decoded now are not counted: threads of the interrupted search may still be decoding.
    kept, *_ = Manifest(tmp_path).read(list(FILES), stamps_of([str(tmp_path / name) for name in FILES]))
    assert np.count_nonzero(kept) == 5
    assert load(tmp_path).unreadable == ()
    assert not [name for name in os.listdir(Manifest(tmp_path).copies.folder) if not name.endswith(".png")]


def test_processes_may_convert_one_folder_at_once(tmp_path):
    _write(tmp_path, FILES)
    with ThreadPool(4) as pool:
        results = pool.map(lambda _: load(tmp_path, memory_limit=0), range(4), chunksize=1)
    assert {splits.train.fingerprint() for splits in results} == {results[0].train.fingerprint()}
    assert all(not splits.unreadable for splits in results)
    np.testing.assert_array_equal(_pixels(results[3].train)["a.tif"], PICTURE)


def test_copies_that_cannot_be_written_are_one_line(tmp_path, monkeypatch):
    _write(tmp_path / "photos", ["a.tif"])
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(TrainingError, match=r"cannot be written.*set XDG_CACHE_HOME") as raised:
        load(tmp_path / "photos")
    assert "\n" not in str(raised.value)


def test_damage_is_a_reason_never_an_error(capfd):
    rng = np.random.default_rng(0)
    for name, (file, _) in FILES.items():
        problems = {check_bytes(file[: len(file) // 2]).problem}
        for _ in range(5):
            damaged = bytearray(file)
            for at in rng.integers(12, len(file), 8):
                damaged[at] = rng.integers(0, 256)
            problems.add(check_bytes(bytes(damaged)).problem)
        assert any(problems), name
    capfd.readouterr()


def test_every_orientation_equals_pillows():
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = saved("WEBP", exif=exif)
        np.testing.assert_array_equal(decode_picture(file, "WebP"), _pillow(file))


def test_pixels_that_would_have_other_values_are_refused():
    negative = _deep_tiff(DEEP[..., 0], "little", photometric=0)
    assert (
        check_bytes(negative).problem == "is a TIFF of 16 bits in which 0 is white: save it with 0 as black"
    )
    for pixels in (PICTURE[..., 0].astype(np.float32), PICTURE[..., 0].astype(np.int32) * 70000):
        problem = check_bytes(saved("TIFF", Image.fromarray(pixels).mode, Image.fromarray(pixels))).problem
        assert problem == "is a TIFF with pixels of 32 bits or a sign: save it with 8 or 16 bits"


def test_large_images_are_refused_by_their_header(monkeypatch):
    monkeypatch.setattr(image_file, "MOST_PIXELS", 60 * 90 - 1)
    monkeypatch.setattr(image_file, "decode_picture", None)
    for name in ("a.tif", "a.gif", "a.avif", "lossy.webp"):
        problem = check_bytes(FILES[name][0]).problem
        assert problem == "is too large: 90 x 60 pixels, the limit is 5,399"


def test_tools_read_the_copies(tmp_path):
    _write(tmp_path / "photos", ["a.tif"])
    _write(tmp_path, ["lossless.webp"])
    flat(tmp_path / "photos", 1)
    single = str(tmp_path / "lossless.webp")
    good, bad = find_images([str(tmp_path / "photos"), single])
    assert bad == []
    assert list(good) == [f"{tmp_path}/photos/0.png", f"{tmp_path}/photos/a.tif", single]
    assert good[f"{tmp_path}/photos/0.png"] == f"{tmp_path}/photos/0.png"
    for path in (good[f"{tmp_path}/photos/a.tif"], good[single], verify_file(single)[1]):
        np.testing.assert_array_equal(decode(tf.io.read_file(path)).numpy(), PICTURE)
    np.testing.assert_array_equal(_pixels(open_images(single).parts[0])["lossless.webp"], PICTURE)


def test_remote_files_are_converted(tried):
    tf.io.gfile.makedirs("ram://pictures")
    for name in ("a.tif", "a.gif"):
        with tf.io.gfile.GFile(f"ram://pictures/{name}", "wb") as file:
            file.write(FILES[name][0])
    for _ in range(2):
        images = _pixels(load("ram://pictures").train)
        np.testing.assert_array_equal(images["a.tif"], PICTURE)
    assert len(tried) == 2
