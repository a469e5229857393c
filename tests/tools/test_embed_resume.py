"""tools.embed goes on after any stop, and ends as if nothing had been."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from simclr_keras.errors import Stopped
from simclr_keras.tools import embed
from simclr_keras.tools.features import feature_files
from simclr_keras.tools.features.feature_parts import FeatureParts
from simclr_keras.tools.images.open_images import open_images
from tests.data.pictures import jpeg, png
from tests.tools.models_to_run import run

pytestmark = pytest.mark.slow  # together, as each loads or makes networks


class TestGoingOn:
    """Stopped after any batch, it goes on with the next and ends as if nothing had been."""

    def words(self, models, photos, out):
        return (f"--model={models}/run", f"--images={photos}", f"--out={out}", "--batch_size=2")

    @pytest.mark.parametrize(
        "stop", [KeyboardInterrupt, Stopped("stopped", signal.SIGTERM), OSError(5, "I/O error")]
    )
    @pytest.mark.parametrize("batches", [1, 4])
    def test_after_a_stop(self, models, photos, tmp_path, monkeypatch, stop, batches):
        run(embed, *self.words(models, photos, tmp_path / "whole.npz"))
        words = self.words(models, photos, tmp_path / "f.npz")
        real, added = FeatureParts.add, []

        def add(parts, features, labels):
            if len(added) == batches:
                raise stop
            real(parts, features, labels)
            parts.save()
            added.append(len(features))

        with monkeypatch.context() as patch:
            patch.setattr(FeatureParts, "add", add)
            if isinstance(stop, OSError):
                with pytest.raises(OSError, match="I/O error"):
                    run(embed, *words)
            else:
                code, _, error = run(embed, *words)
                assert code in (130, 143)
                assert error.count("\n") == 1
        assert not (tmp_path / "f.npz").exists()
        computed = []
        monkeypatch.setattr(
            FeatureParts, "add", lambda *given: computed.append(len(given[1])) or real(*given)
        )
        code, said, _ = run(embed, *words)
        assert code == 0
        assert f"resume   {2 * batches} of 11 images were done before" in said
        assert sum(computed) == 11 - 2 * batches
        whole, resumed = (feature_files.read(str(tmp_path / n)) for n in ("whole.npz", "f.npz"))
        np.testing.assert_allclose(resumed.features, whole.features, rtol=1e-5, atol=1e-7)
        assert resumed.ids == whole.ids
        np.testing.assert_array_equal(resumed.labels, whole.labels)
        assert not [name for name in os.listdir(tmp_path) if "unfinished" in name]

    def interrupt_after_one_batch(self, models, photos, out, monkeypatch):
        real = FeatureParts.add

        def add(parts, features, labels):
            real(parts, features, labels)
            parts.save()
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(FeatureParts, "add", add)
            assert run(embed, *self.words(models, photos, out))[0] == 130

    def test_not_with_another_endpoint_or_model_or_other_images(self, models, photos, tmp_path, monkeypatch):
        out = tmp_path / "f.npz"
        self.interrupt_after_one_batch(models, photos, out, monkeypatch)
        words = self.words(models, photos, out)
        other = [*words[1:], f"--model={models}/unlabeled"]
        for changed, told in (([*words, "--endpoint=logits"], "endpoint"), (other, "model")):
            code, _, error = run(embed, *changed)
            assert code == 2
            assert f"holds 2 rows of another command (differing: {told})" in error
        png(photos / "ant" / "new.png", 9)
        code, _, error = run(embed, *words)
        assert "differing: images" in error
        code, said, _ = run(embed, *words, "--overwrite")
        assert code == 0
        assert "resume" not in said
        assert len(feature_files.read(str(out))) == 12

    def test_an_image_that_changed_is_another_image(self, models, photos, tmp_path, monkeypatch):
        self.interrupt_after_one_batch(models, photos, tmp_path / "f.npz", monkeypatch)
        jpeg(photos / "bee" / "a.jpg", 77)
        os.utime(photos / "bee" / "a.jpg", (1, 1))
        code, _, error = run(embed, *self.words(models, photos, tmp_path / "f.npz"))
        assert (code, "differing: images" in error) == (2, True)

    def test_an_image_that_goes_meanwhile_is_one_line(self, models, photos, tmp_path, monkeypatch):
        real = open_images.Images.fingerprint  # the last that is asked before they are read
        lose = lambda found: (real(found), shutil.rmtree(photos / "bee"))[0]  # noqa: E731
        monkeypatch.setattr(open_images.Images, "fingerprint", lose)
        code, _, error = run(embed, *self.words(models, photos, tmp_path / "f.npz"))
        assert code == 2
        assert "could be read before and now not" in error
        assert error.count("\n") == 1
        assert not (tmp_path / "f.npz").exists()

    @pytest.mark.parametrize(("overwrite", "code"), [((), 2), (("--overwrite",), 0)])
    @pytest.mark.parametrize("when", ["before the lock", "before it is written"])
    def test_what_another_process_finished_meanwhile(
        self, models, photos, tmp_path, monkeypatch, when, overwrite, code
    ):
        out = tmp_path / "f.npz"
        if when == "before the lock":
            real = open_images.Images.fingerprint
            finish = lambda found: (real(found), out.write_text("theirs"))[0]  # noqa: E731
            monkeypatch.setattr(open_images.Images, "fingerprint", finish)
            computed = 0
        else:
            real = FeatureParts.read
            finish = lambda parts: (real(parts), out.write_text("theirs"))[0]  # noqa: E731
            monkeypatch.setattr(FeatureParts, "read", finish)
            computed = 11
        added, add = [], FeatureParts.add
        monkeypatch.setattr(FeatureParts, "add", lambda *given: added.append(len(given[1])) or add(*given))
        found, _, error = run(embed, *self.words(models, photos, out), *overwrite)
        assert found == code
        if overwrite:
            assert len(feature_files.read(str(out))) == 11
            return
        assert (
            error == f"embed: error: --out={out} exists; give another name, or --overwrite to replace it.\n"
        )
        assert out.read_text() == "theirs"
        assert sum(added) == computed
        monkeypatch.undo()
        # Rows that are done stay for --overwrite, and no empty folder does.
        assert (tmp_path / "f.npz.unfinished").exists() == (computed > 0)
        _, said, _ = run(embed, *self.words(models, photos, out), "--overwrite")
        assert ("resume   11 of 11" in said) == (computed > 0)

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    def test_a_process_that_is_stopped(self, models, tmp_path, number):
        rng = np.random.default_rng(0)
        np.savez(tmp_path / "a.npz", x_train=rng.integers(0, 256, (60_000, 8, 8), np.uint8))
        out = tmp_path / "f.npz"
        words = [f"--model={models}/run", f"--images=npz:{tmp_path}/a.npz", f"--out={out}", "--batch_size=8"]
        code = (
            "import sys\nfrom simclr_keras import command_line\nfrom simclr_keras.tools import embed, feature_parts\n"
            "feature_parts.SECONDS_BETWEEN_SAVES = 0.1\n"
            "command_line.leave(command_line.run(embed.main, ['embed', *sys.argv[1:]], 'embed'))"
        )
        command = [sys.executable, "-c", code, *words]
        quiet = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet
        )
        rows = tmp_path / "f.npz.unfinished" / "rows.json"
        deadline = time.monotonic() + 300
        while process.poll() is None and not rows.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
        assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
        assert not out.exists()
        if number != signal.SIGKILL:
            assert "images are done; rerun the same command to continue." in error
            assert error.count("\n") == 1
        done = json.loads((tmp_path / "f.npz.unfinished" / "rows.json").read_text())["rows"]
        assert 0 < done < 60_000
        code, said, _ = run(embed, *words[:-1], "--batch_size=4096")
        assert code == 0
        assert f"resume   {done:,} of 60,000" in said
        run(embed, *words[:2], f"--out={tmp_path}/whole.npz", "--batch_size=4096")
        found, whole = (feature_files.read(str(path)).features for path in (out, tmp_path / "whole.npz"))
        np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-6)
