"""An interrupted tools.embed continues, and ends with what an uninterrupted one writes."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from simclr_keras.models import resnet
from simclr_keras.tools import embed
from simclr_keras.tools.features import feature_files, feature_parts
from simclr_keras.tools.features.feature_parts import FeatureParts
from simclr_keras.tools.images.open_images import Images
from tests.data.pictures import jpeg, png
from tests.tools.models_to_run import run

pytestmark = pytest.mark.slow  # together, as each loads or makes networks


@pytest.fixture
def words(models, photos, tmp_path):
    """A command that embeds 11 images, two at a time."""
    return (f"--model={models}/run", f"--images={photos}", f"--out={tmp_path}/f.npz", "--batch_size=2")


def stop_after(batches, number, words, monkeypatch):
    """Send this process a signal after some batches; return the command's exit code and message."""
    add, rows = FeatureParts.add, []

    def add_and_stop(parts, features, labels):
        add(parts, features, labels)
        rows.append(len(features))
        if len(rows) == batches:
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(FeatureParts, "add", add_and_stop)
        code, _, error = run(embed, *words)
    return code, error


def test_a_signal_saves_and_the_rerun_continues(words, tmp_path, monkeypatch):
    run(embed, *words, f"--out={tmp_path}/whole.npz")
    whole = feature_files.read(f"{tmp_path}/whole.npz")
    for number, batches in ((signal.SIGINT, 1), (signal.SIGTERM, 4)):
        code, error = stop_after(batches, number, words, monkeypatch)
        assert (code, error.count("\n")) == (128 + number, 1)
        assert f"{2 * batches} of 11 images are done; rerun the same command to continue." in error
        assert not (tmp_path / "f.npz").exists()
        code, said, _ = run(embed, *words)
        assert code == 0
        assert f"resume   {2 * batches} of 11 images are in {tmp_path}/f.npz.parts" in said
        resumed = feature_files.read(f"{tmp_path}/f.npz")
        np.testing.assert_allclose(resumed.features, whole.features, rtol=1e-5, atol=1e-7)
        assert resumed.ids == whole.ids
        np.testing.assert_array_equal(resumed.labels, whole.labels)
        assert not (tmp_path / "f.npz.parts").exists()
        (tmp_path / "f.npz").unlink()


def test_other_settings_are_refused(words, models, photos, tmp_path, monkeypatch):
    stop_after(1, signal.SIGINT, words, monkeypatch)

    def check_refused(name, *more):
        code, _, error = run(embed, *words, *more)
        assert (code, error.count("\n")) == (2, 1)
        assert f"contains parts of another command (different: {name})" in error

    check_refused("endpoint", "--endpoint=logits")
    check_refused("model", f"--model={models}/unlabeled")
    jpeg(photos / "bee" / "a.jpg", 77)
    os.utime(photos / "bee" / "a.jpg", (1, 1))
    check_refused("images")
    png(photos / "ant" / "new.png", 9)
    check_refused("images")
    code, said, _ = run(embed, *words, "--overwrite")
    assert code == 0
    assert "resume" not in said
    assert len(feature_files.read(f"{tmp_path}/f.npz")) == 12


def test_an_image_that_disappears_is_one_line(words, photos, tmp_path, monkeypatch):
    fingerprint = Images.fingerprint  # the last call before images are read
    monkeypatch.setattr(
        Images, "fingerprint", lambda images: (fingerprint(images), shutil.rmtree(photos / "bee"))[0]
    )
    code, _, error = run(embed, *words)
    assert code == 2
    assert "became unreadable" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "f.npz").exists()


def test_a_file_that_appears_meanwhile_is_kept(words, tmp_path, monkeypatch):
    out, join = tmp_path / "f.npz", FeatureParts.join
    with monkeypatch.context() as patch:
        patch.setattr(FeatureParts, "join", lambda parts: (join(parts), out.write_text("theirs"))[0])
        code, _, error = run(embed, *words)
    assert code == 2
    assert error == f"embed: error: --out={out} exists; give another name, or --overwrite to replace it.\n"
    assert out.read_text() == "theirs"
    code, said, _ = run(embed, *words, "--overwrite")
    assert code == 0
    assert "resume   11 of 11" in said
    assert len(feature_files.read(str(out))) == 11


def test_a_killed_process_continues(whole_run, tmp_path, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS, 18, (2, 2, 2, 2))
    images = np.random.default_rng(0).integers(0, 256, (12_000, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", x_train=images)
    parts, out = tmp_path / "f.npz.parts", tmp_path / "f.npz"
    words = [f"--model={whole_run}", f"--images=npz:{tmp_path}/a.npz", f"--out={out}"]
    command = [sys.executable, "-m", "simclr_keras.tools.embed", *words, "--batch_size=8"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while process.poll() is None and not (parts / "000001.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    code, said, _ = run(embed, *words, "--batch_size=4096")
    assert code == 0
    done = feature_parts.ROWS * 2
    assert f"resume   {done:,} of 12,000 images" in said
    run(embed, *words[:2], f"--out={tmp_path}/whole.npz", "--batch_size=4096")
    resumed, whole = (feature_files.read(f"{path}").features for path in (out, tmp_path / "whole.npz"))
    np.testing.assert_allclose(resumed, whole, rtol=1e-4, atol=1e-6)
