"""tools.embed: what it writes and what it refuses."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import preprocess
from simclr_keras.runs.open_run import load_run
from simclr_keras.tools import any_model, embed
from simclr_keras.tools.features import feature_files
from tests.data.pictures import flat
from tests.tools.models_to_run import SIZE, run

pytestmark = pytest.mark.slow  # together, as each loads or makes networks


def expected(models, paths, endpoint="final_avg_pool", size=SIZE):
    """What the network of the run gives for image files, one by one."""
    model = load_run(models / "run")
    views = [
        preprocess.evaluation_view(preprocess.decode(tf.io.read_file(str(path))), size) for path in paths
    ]
    return model(np.stack(views), training=False)[endpoint].numpy()


class TestWhatItWrites:
    def test_features_ids_labels_and_classes_of_a_folder(self, models, photos, tmp_path):
        out = tmp_path / "f.npz"
        code, said, error = run(
            embed, f"--model={models}/run", f"--images=folder:{photos}", f"--out={out}", "--batch_size=4"
        )
        assert (code, error) == (0, "")
        found = feature_files.read(str(out))
        ants, bees = [f"ant/{i}.png" for i in range(5)], [f"bee/{i}.png" for i in range(4)]
        assert found.ids == [*ants, *bees, "bee/a.jpg", "bee/b.jpg"]
        np.testing.assert_array_equal(found.labels, [0] * 5 + [1] * 6)
        assert found.class_names == ("ant", "bee")
        np.testing.assert_allclose(
            found.features, expected(models, [photos / name for name in found.ids]), rtol=1e-4, atol=1e-6
        )
        assert found.facts == {
            "model": f"{models}/run",
            "use_ema": "false",
            "endpoint": "encoder",
            "images": f"folder:{photos}",
            "image_size": str(SIZE),
        }
        assert os.listdir(tmp_path).count("f.npz") == 1
        assert not [name for name in os.listdir(tmp_path) if name.endswith(".parts")]
        lines = said.splitlines()
        assert lines[0] == f"model    {models}/run: encoder, 64 numbers for each image of 8 x 8 pixels"
        assert lines[1] == f"data     folder:{photos}: 11 images, 2 classes"
        assert lines[-1].startswith(f"features 11 x 64 in {out}")

    def test_labels_of_a_flat_folder_come_from_a_csv(self, models, tmp_path):
        flat(tmp_path / "photos", 4)
        (tmp_path / "labels.csv").write_text("filename,label\n0.png,ant\n2.png,bee\n3.png,ant\n")
        words = [f"--model={models}/run", f"--images={tmp_path}/photos", f"--labels={tmp_path}/labels.csv"]
        assert run(embed, *words, f"--out={tmp_path}/f.npz")[0] == 0
        found = feature_files.read(str(tmp_path / "f.npz"))
        assert (found.ids, found.class_names) == (["0.png", "1.png", "2.png", "3.png"], ("ant", "bee"))
        np.testing.assert_array_equal(found.labels, [0, -1, 1, 0])

    def test_bad_files_are_counted_and_listed_in_a_file_that_is_named(self, models, photos, tmp_path):
        _, said, _ = run(embed, f"--model={models}/run", f"--images={photos}", f"--out={tmp_path}/f.csv")
        (note,) = [line for line in said.splitlines() if "unreadable" in line]
        assert "skipped 2 unreadable images" in note
        listed = note.partition("all listed in ")[2].rstrip(")")
        with open(listed) as file:
            assert file.read().splitlines()[1:] == [
                "ant/empty.jpg,is empty",
                "bee/text.png,is not an image of a known format",
            ]

    def test_of_many_bad_files_some_are_named_and_the_line_tells_how_many_and_where(
        self, models, photos, tmp_path
    ):
        for i in range(30):
            (photos / "bee" / f"bad{i}.png").write_text("no image")
        _, said, _ = run(embed, f"--model={models}/run", f"--images={photos}", f"--out={tmp_path}/f.npz")
        (note,) = [line for line in said.splitlines() if "unreadable" in line]
        assert note.strip().startswith("skipped 32 unreadable images: ant/empty.jpg (is empty), ")
        assert note.count(".png (") == 2
        with open(note.partition("all listed in ")[2].removesuffix(")")) as file:
            assert len(file.read().splitlines()) == 1 + 32

    def test_a_run_and_its_export_agree(self, models, photos, tmp_path):
        for name in ("run", "export", "model.keras"):
            code, _, error = run(
                embed,
                f"--model={models / name}",
                f"--images={photos}",
                f"--out={tmp_path}/{name}.npz",
                "--image_size=12",
            )
            assert (code, error) == (0, "")
        found = [
            feature_files.read(str(tmp_path / f"{n}.npz")).features for n in ("run", "export", "model.keras")
        ]
        scale = np.abs(found[0]).max()
        assert scale > 0
        np.testing.assert_allclose(found[1] / scale, found[0] / scale, atol=1e-5)
        np.testing.assert_allclose(found[2] / scale, found[0] / scale, atol=1e-5)

    def test_any_endpoint_and_of_maps_the_mean(self, models, photos, tmp_path):
        paths = sorted((photos / "ant").glob("*.png"))
        for endpoint in ("proj_head_1", "logits", "block_group2"):
            out = tmp_path / f"{endpoint}.npz"
            words = [
                f"--model={models}/run",
                f"--images={photos}/ant",
                f"--out={out}",
                f"--endpoint={endpoint}",
            ]
            code, said, _ = run(embed, *words)
            assert code == 0
            value = expected(models, paths, endpoint)
            assert ("the mean over the pixels of its maps" in said) == (value.ndim == 4)
            value = value.mean((1, 2)) if value.ndim == 4 else value
            np.testing.assert_allclose(feature_files.read(str(out)).features, value, rtol=1e-4, atol=1e-6)

    def test_both_splits_of_an_archive_and_of_the_digits_all(self, models, tmp_path):
        rng = np.random.default_rng(0)
        arrays = {
            f"x_{part}": rng.integers(0, 256, (n, 8, 8), np.uint8) for part, n in (("train", 5), ("test", 3))
        }
        np.savez(tmp_path / "a.npz", **arrays, y_train=[0, 1, 1, 0, 1], y_test=[1, 0, 1])
        for given, count, last in ((f"npz:{tmp_path}/a.npz", 8, "test/2"), ("digits", 1797, "train/1796")):
            out = tmp_path / "f.npz"
            code, _, _ = run(
                embed, f"--model={models}/run", f"--images={given}", f"--out={out}", "--overwrite"
            )
            found = feature_files.read(str(out))
            assert (code, len(found), found.ids[-1], found.ids[0]) == (0, count, last, "train/0")
            assert (found.labels >= 0).all()

    def test_a_single_file(self, models, photos, tmp_path):
        path = photos / "bee" / "a.jpg"
        code, _, _ = run(embed, f"--model={models}/run", f"--images={path}", f"--out={tmp_path}/f.npz")
        found = feature_files.read(str(tmp_path / "f.npz"))
        assert (code, found.ids, found.labels) == (0, ["a.jpg"], None)
        np.testing.assert_allclose(found.features, expected(models, [path]), rtol=1e-4, atol=1e-6)

    def test_a_flat_folder_has_no_labels(self, models, tmp_path):
        flat(tmp_path / "flat", 3)
        run(embed, f"--model={models}/run", f"--images={tmp_path}/flat", f"--out={tmp_path}/f.parquet")
        found = feature_files.read(str(tmp_path / "f.parquet"))
        assert (found.labels, found.class_names, found.ids) == (None, None, ["0.png", "1.png", "2.png"])


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--images=digits", "--out={}/f.npz"], "--model is missing: give a run directory"),
            (["--model={models}/run", "--out={}/f.npz"], "--images is missing"),
            (["--model={models}/run", "--images=digits"], "--out is missing"),
            (
                ["--model={models}/none", "--images=digits", "--out={}/f.npz"],
                "no such file or directory",
            ),
            (
                ["--model={models}/plain", "--images=digits", "--out={}/f.npz"],
                "has no signature and no __call__",
            ),
            (
                ["--model={models}/run", "--images=digits", "--out={}/f.npz", "--endpoint=proj_head_7"],
                "has no endpoint proj_head_7; it has encoder,",
            ),
            (
                ["--model={models}/unlabeled", "--images=digits", "--out={}/f.npz", "--endpoint=logits"],
                "has no classifier",
            ),
            (["--model={models}/export", "--images=digits", "--out={}/f.npz"], "give --image_size"),
            (["--model={models}/run", "--images={}/texts", "--out={}/f.npz"], "can be decoded"),
            (
                ["--model={models}/run", "--images={}/empty", "--out={}/f.npz"],
                "contains no image files such as .jpg or .png",
            ),
            (
                ["--model={models}/run", "--images={}/none.jpg", "--out={}/f.npz"],
                "none.jpg not found",
            ),
            (["--model={models}/run", "--images=folder:{}/none", "--out={}/f.npz"], "There is no folder"),
            (["--model={models}/run", "--images={}/there.npz", "--out={}/f.npz"], "is not an .npz archive"),
            (
                ["--model={models}/run", "--images=digits", "--out={}/f.txt"],
                "must end in .npz or .parquet or .csv",
            ),
            (
                ["--model={models}/run", "--images=digits", "--out={}/there.npz"],
                "exists; give another name, or --ov",
            ),
            (["--model={models}/run", "--images=digits", "--out={}/no/f.npz"], "does not exist; create it"),
            (["--model={models}/run", "--images=digits", "--out={}/.npz"], "has no name before its ending"),
            (
                ["--model={models}/run", "--images=digits", "--out=gs://b/f.npz"],
                "is remote; give a local file",
            ),
            (
                ["--model={models}/run", "--images=digits", "--out={}/f.npz", "--batch_size=0"],
                "must be at least 1",
            ),
            (["--model={models}/run", "--images=digits", "--out={}/f.npz", "--image_size=4"], "at least 8"),
            (["--modle={models}/run"], "unknown flag --modle: did you mean --model?"),
            (["--model={models}/run", "photo.jpg"], "unexpected word 'photo.jpg'"),
        ],
    )
    def test_one_line_and_code_2(self, models, tmp_path, words, said):
        (tmp_path / "empty").mkdir()
        (tmp_path / "texts").mkdir()
        for name in ("a.jpg", "b.png"):
            (tmp_path / "texts" / name).write_text("x")
        (tmp_path / "there.npz").write_text("mine")
        before = sorted(os.listdir(tmp_path))
        code, _, error = run(embed, *(word.format(tmp_path, models=models) for word in words))
        assert code == 2
        assert said in error
        assert error.startswith("embed: error: ")
        assert error.count("\n") == 1
        assert (tmp_path / "there.npz").read_text() == "mine"
        assert sorted(os.listdir(tmp_path)) == before

    def test_a_network_that_has_diverged(self, models, tmp_path):
        flat(tmp_path / "flat", 3)
        shutil.copytree(models / "run", tmp_path / "run")
        real = any_model.open_model(tmp_path / "run")
        broken = any_model.dataclasses.replace(real, call=lambda x, name: real.call(x, name) / 0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(any_model, "open_model", lambda path, use_ema: broken)
            code, _, error = run(
                embed, f"--model={tmp_path}/run", f"--images={tmp_path}/flat", f"--out={tmp_path}/f.npz"
            )
        assert (code, error.count("\n")) == (1, 1)
        assert "not finite" in error


def test_help_and_refusals_do_not_wait_for_tensorflow(tmp_path):
    code = (
        "import sys\nfrom simclr_keras.config import command_line\n"
        "from simclr_keras.tools import embed, predict, visualize\n"
        "for module in (embed, predict, visualize):\n"
        "    command_line.run(module.COMMAND.main, ['x', '--help'], 'x')\n"
        "command_line.run(embed.COMMAND.main, ['x', '--model=a', '--images=b', '--out=c.txt'], 'x')\n"
        "print([name for name in ('tensorflow', 'keras', 'matplotlib', 'sklearn') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[-1] == "[]"
    assert max(map(len, lines)) <= 100
    assert done.stderr == "x: error: --out=c.txt must end in .npz or .parquet or .csv.\n"
