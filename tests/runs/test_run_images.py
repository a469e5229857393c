"""A run and its data: refused where it is other data, found again where single files went or came."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.sources.fingerprint import contents_of
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.errors import InputError
from simclr_keras.runs.data_binding import _with_replacements, bind_data
from simclr_keras.runs.run_dir import RunDir
from tests.training.tiny import write_npz


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "run").mkdir()
    return RunDir(tmp_path / "run")


def npz(path, labels=True, **arrays):
    stripes = dict(np.load(write_npz(path, test=0, labels=labels)))
    np.savez(path, **{**stripes, **arrays})
    return f"npz:{path}"


def test_a_run_goes_on_with_the_data_it_began_with(run_dir, tmp_path):
    splits = load_dataset(npz(tmp_path / "a.npz"))
    bind_data(run_dir, splits, resumed=False)
    written = run_dir.read_text("split.json")
    bind_data(run_dir, splits, resumed=True)
    assert run_dir.read_text("split.json") == written
    assert all(name in written for name in splits.held_out)


@pytest.mark.parametrize("change", ["evaluation labels", "class names"])
def test_a_run_does_not_go_on_with_another_evaluation(run_dir, tmp_path, change):
    arrays = dict(np.load(write_npz(tmp_path / "a.npz")))
    bind_data(run_dir, load_dataset(f"npz:{tmp_path}/a.npz"), resumed=False)
    if change == "class names":
        arrays["class_names"] = arrays["class_names"][::-1]
    else:
        arrays["y_test"] = (arrays["y_test"] + 1) % 3
    np.savez(tmp_path / "b.npz", **arrays)
    with pytest.raises(InputError, match="images, labels or classes differ"):
        bind_data(run_dir, load_dataset(f"npz:{tmp_path}/b.npz"), resumed=True)


@pytest.mark.parametrize("name", ["x_train", "x_test"])
def test_a_run_does_not_go_on_with_other_pixels(run_dir, tmp_path, name):
    arrays = dict(np.load(write_npz(tmp_path / "a.npz")))
    splits = load_dataset(f"npz:{tmp_path}/a.npz")
    bind_data(run_dir, splits, resumed=False, contents=contents_of(splits))
    assert bind_data(run_dir, splits, resumed=True, contents=contents_of(splits)) is splits
    arrays[name][3] ^= 1
    np.savez(tmp_path / "a.npz", **arrays)
    splits = load_dataset(f"npz:{tmp_path}/a.npz")
    with pytest.raises(InputError, match="images, labels or classes differ"):
        bind_data(run_dir, splits, resumed=True, contents=contents_of(splits))


def test_a_run_from_before_contents_were_written_down_goes_on(run_dir, tmp_path):
    splits = load_dataset(npz(tmp_path / "a.npz"))
    bind_data(run_dir, splits, resumed=False)
    assert bind_data(run_dir, splits, resumed=True, contents=contents_of(splits)) is splits


def test_a_split_that_is_lost_is_not_guessed(run_dir, tmp_path):
    splits = load_dataset(npz(tmp_path / "a.npz"))
    with pytest.raises(InputError, match=r"has checkpoints but no split.json.*restore it"):
        bind_data(run_dir, splits, resumed=True)
    assert run_dir.read_text("split.json") is None


@pytest.mark.parametrize("change", ["an image more", "another label", "another seed of the split"])
def test_a_run_does_not_go_on_with_other_data(run_dir, tmp_path, change):
    bind_data(run_dir, load_dataset(npz(tmp_path / "a.npz")), resumed=False)
    written = run_dir.read_text("split.json")
    arrays = dict(np.load(tmp_path / "a.npz"))
    seed = 0
    if change == "an image more":
        arrays = {name: np.concatenate([arrays[name], arrays[name][:1]]) for name in ("x_train", "y_train")}
    elif change == "another label":
        arrays["y_train"][[0, 1]] = arrays["y_train"][[1, 0]]
    else:
        seed = 1
    other = load_dataset(npz(tmp_path / "b.npz", **arrays), seed=seed)
    with pytest.raises(InputError, match=r"37 training images and 3 .* then, 37 .* now\).*restore"):
        bind_data(run_dir, other, resumed=True)
    assert run_dir.read_text("split.json") == written


def photos(folder, counts, start=0):
    """Writes small PNG files into class sub-folders: dict of class to how many."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(start, start + count):
            pixels = np.random.default_rng(i).integers(0, 256, (9, 9, 3), np.uint8)
            (folder / name / f"{i:02}.png").write_bytes(tf.io.encode_png(pixels).numpy())


class TestFolder:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    @pytest.fixture
    def folder(self, tmp_path):
        photos(tmp_path / "photos", {"cat": 20, "dog": 10})
        return tmp_path / "photos"

    @pytest.fixture
    def load(self, folder):
        return lambda **settings: load_dataset(f"folder:{folder}", **settings)

    def bound(self, run_dir, splits, said=None, resumed=True):
        lines = [] if said is None else said
        return bind_data(run_dir, splits, resumed, lines.append)

    def test_nothing_changed_is_nothing_said(self, run_dir, load):
        self.bound(run_dir, load(), resumed=False)
        said, splits = [], load()
        assert self.bound(run_dir, splits, said) is splits
        assert said == []

    def test_another_image_of_the_class_stands_in_for_one_that_is_gone(self, run_dir, folder, load):
        began = self.bound(run_dir, load(), resumed=False)
        gone = [i for i, name in enumerate(began.train.ids) if name.startswith("dog/")][3]
        (folder / began.train.ids[gone]).unlink()
        said = []
        found = self.bound(run_dir, load(), said)
        # Every other image keeps its place, its label and its pixels.
        assert list(found.train.ids) == list(began.train.ids)
        np.testing.assert_array_equal(found.train.labels, began.train.labels)
        images, before = (
            [source.fetch(i).numpy() for i in range(len(source))] for source in (found.train, began.train)
        )
        different = [i for i, (image, old) in enumerate(zip(images, before)) if image != old]
        assert different == [gone]
        assert images[gone] == before[gone + 1]
        assert began.train.labels[gone + 1] == began.train.labels[gone]
        assert said == [
            f"data     1 of the original images are missing: {began.train.ids[gone]}; images of the same class "
            "replace those to train on"
        ]
        # The same images are held out as when the run began, though the seed would now choose others.
        assert list(found.evaluation.ids) == list(began.evaluation.ids)
        assert found.held_out == began.held_out
        assert found.missing == (began.train.ids[gone],)

    def test_an_image_that_is_gone_from_the_evaluation_is_left_out_there(self, run_dir, folder, load):
        began = self.bound(run_dir, load(), resumed=False)
        (folder / began.held_out[0]).unlink()
        found = self.bound(run_dir, load())
        assert list(found.evaluation.ids) == list(began.held_out[1:])
        assert not {*found.train.ids} & {*found.evaluation.ids}
        assert list(found.train.ids) == list(began.train.ids)

    def test_an_image_that_no_longer_decodes_counts_as_gone(self, run_dir, folder, load):
        began = self.bound(run_dir, load(), resumed=False)
        (folder / began.train.ids[0]).write_bytes(b"no image")
        said = []
        found = self.bound(run_dir, load(), said)
        assert list(found.train.ids) == list(began.train.ids)
        assert "1 of the original images are missing: cat/" in said[0]

    def test_images_that_were_added_are_not_used(self, run_dir, folder, load):
        began = self.bound(run_dir, load(), resumed=False)
        photos(folder, {"cat": 2, "dog": 1}, start=30)
        said = []
        found = self.bound(run_dir, load(), said)
        assert said == ["data     3 images were added since the run began; they are not used"]
        assert list(found.train.ids) == list(began.train.ids)
        assert list(found.evaluation.ids) == list(began.evaluation.ids)

    def test_the_labels_that_may_be_seen_stay_the_same(self, run_dir, folder, load):
        began = self.bound(run_dir, load(labels_per_class=3), resumed=False)
        gone = int(np.flatnonzero(began.train.labels < 0)[0])
        (folder / began.train.ids[gone]).unlink()
        found = self.bound(run_dir, load(labels_per_class=3))
        np.testing.assert_array_equal(found.train.labels, began.train.labels)

    def test_too_many_gone_is_other_data(self, run_dir, folder, load):
        began = self.bound(run_dir, load(), resumed=False)
        for name in began.train.ids[:5]:
            (folder / name).unlink()
        with pytest.raises(InputError, match=r"27 training images .* then, 22 .* now\); restore"):
            self.bound(run_dir, load())

    def test_labels_that_changed_are_other_data(self, run_dir, folder):
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
        csv = folder.parent / "labels.csv"

        def load(swapped):
            csv.write_text("".join(f"{name},{int(('cat' in name) != swapped)}\n" for name in names))
            return load_dataset(f"folder:{folder}", labels=str(csv))

        self.bound(run_dir, load(False), resumed=False)
        self.bound(run_dir, load(False))
        with pytest.raises(InputError, match="images, labels or classes differ"):
            self.bound(run_dir, load(True))

    def test_a_split_that_was_tampered_with_is_refused(self, run_dir, load):
        began = self.bound(run_dir, load(), resumed=False)
        split = run_dir.read_split()
        split.held_out[0] = began.train.ids[0]
        run_dir.write_split(split)
        with pytest.raises(InputError, match="images, labels or classes differ"):
            self.bound(run_dir, load())

    def test_an_evaluation_folder_may_lose_an_image_which_is_said(self, run_dir, folder, tmp_path):
        photos(tmp_path / "both" / "train", {"cat": 4, "dog": 4})
        photos(tmp_path / "both" / "val", {"cat": 4, "dog": 4})
        spec = f"folder:{tmp_path / 'both'}"
        self.bound(run_dir, load_dataset(spec), resumed=False)
        (tmp_path / "both" / "val" / "cat" / "00.png").unlink()
        said = []
        assert self.bound(run_dir, load_dataset(spec), said).evaluation.num_examples == 7
        assert said == ["data     7 evaluation images, 8 when the run began"]

    def test_another_class_is_other_data(self, run_dir, folder, load):
        self.bound(run_dir, load(), resumed=False)
        photos(folder, {"ant": 2})
        with pytest.raises(InputError, match="restore the data"):
            self.bound(run_dir, load())

    @pytest.mark.parametrize("damage", [None, b"", b"nothing", b"\x1f\x8b\x08\x00" + bytes(20)])
    def test_without_the_list_of_images_changed_data_is_refused(self, run_dir, folder, load, damage):
        began = self.bound(run_dir, load(), resumed=False)
        (folder / began.train.ids[0]).unlink()
        tf.io.gfile.remove(run_dir.file("training_images.tsv.gz"))
        if damage is not None:
            run_dir.write("training_images.tsv.gz", damage)
        with pytest.raises(InputError, match="restore the data"):
            self.bound(run_dir, load())


def test_a_damaged_split_is_refused_in_one_line(run_dir, tmp_path):
    splits = load_dataset(npz(tmp_path / "a.npz"))
    for text in ("", "{", "[1]", "7"):
        run_dir.write("split.json", text)
        with pytest.raises(InputError, match=r"split.json is damaged \(.*restore it"):
            bind_data(run_dir, splits, resumed=True)


def test_stand_ins_go_round_and_fail_where_a_class_is_gone():
    labels = np.array([0, 1, 0, 1, 0])
    rows = np.array([7, 5, 3, 4, -1])
    np.testing.assert_array_equal(_with_replacements(rows, labels), [7, 5, 3, 4, 7])
    assert _with_replacements(np.array([7, -1, 3, -1, 2]), labels) is None
