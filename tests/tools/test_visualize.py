"""tools.visualize: neighbors and map are right, the pictures show them, and what is wrong is said."""

import dataclasses
import os
import warnings

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from simclr_keras.evaluation.colors import BLUE, GREEN, INK, ORANGE
from simclr_keras.tools import visualize
from simclr_keras.tools.features import feature_files
from simclr_keras.tools.features.feature_files import Features
from simclr_keras.tools.figures import map_figure, neighbors_figure
from tests.data.pictures import flat
from tests.tools.models_to_run import run

pytestmark = pytest.mark.slow  # together, as each loads or makes networks


@pytest.fixture
def photos(tmp_path):
    """Features of 12 images, of which 4 have no label, and the images."""
    flat(tmp_path / "photos", 12)
    features = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    labels = np.array([0, 1] * 4 + [-1] * 4, np.int32)
    ids = sorted(f"{i}.png" for i in range(12))
    vectors = Features(
        features, ids, labels, ("ant", "bee"), {"images": f"folder:{tmp_path}/photos", "model": "runs/a"}
    )
    feature_files.write(str(tmp_path / "f.npz"), vectors)
    return vectors


class TestNeighbors:
    def test_they_are_those_of_the_largest_cosine(self):
        features = np.random.default_rng(0).normal(size=(30, 4))
        rows, cosines = neighbors_figure.nearest(features, np.array([3, 17]), 5)
        for query, found_rows, found_cosines in zip((3, 17), rows, cosines):
            other = [
                (-np.dot(features[query], v) / np.linalg.norm(features[query]) / np.linalg.norm(v), row)
                for row, v in enumerate(features)
                if row != query
            ]
            expected = sorted(other)[:5]
            assert found_rows.tolist() == [row for _, row in expected]
            np.testing.assert_allclose(found_cosines, [-c for c, _ in expected], rtol=1e-6)

    def test_an_image_is_not_its_own_neighbor_even_among_its_copies(self):
        rows, cosines = neighbors_figure.nearest(np.ones([5, 2]), np.array([0, 2]), 4)
        assert rows.tolist() == [[1, 2, 3, 4], [0, 1, 3, 4]]
        np.testing.assert_allclose(cosines, 1)

    def test_a_vector_of_zeros_is_like_nothing(self):
        _, cosines = neighbors_figure.nearest(np.array([[0.0, 0], [1, 0], [1, 1]]), np.array([1]), 2)
        np.testing.assert_allclose(cosines, [[0.5**0.5, 0]])

    def test_queries_are_of_as_many_classes_as_there_are(self):
        labels = np.array([0] * 50 + [1] * 3 + [2] + [-1] * 50)
        chosen = neighbors_figure.choose_queries(5, labels, 0)
        assert labels[chosen[:3]].tolist() == [0, 1, 2]
        assert sorted(labels[chosen[3:]].tolist()) == [0, 1]
        assert len(set(chosen.tolist())) == 5
        assert chosen.tolist() == neighbors_figure.choose_queries(5, labels, 0).tolist()
        assert chosen.tolist() != neighbors_figure.choose_queries(5, labels, 1).tolist()

    def test_pictures_titles_and_colors(self):
        side = neighbors_figure.SIDE
        pictures = np.random.default_rng(0).integers(0, 256, (2, 4, side, side, 3), np.uint8)
        classes = [["ant", "ant", "bee", ""], ["", "ant", "bee", ""]]
        titles = [["ant", "ant", "bee", "x" * 60 + "_3.png"], ["0", "ant", "bee", "3"]]
        cosines = np.array([[0.5, 0.25, 0.125]] * 2)
        figure = neighbors_figure.neighbors_figure(
            pictures, titles, classes, cosines, ["a.png", "b.png"], "m" * 300
        )
        figure.canvas.draw()
        for axes, picture in zip(figure.axes, pictures.reshape(-1, side, side, 3), strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), picture)
        first, second = figure.axes[:4], figure.axes[4:]
        assert [axes.title.get_color() for axes in first] == [INK, GREEN, ORANGE, INK]
        assert [axes.title.get_color() for axes in second] == [INK] * 4
        assert first[3].get_title().endswith("xx_3.png")
        assert [axes.get_xlabel() for axes in first] == ["a.png", "0.500", "0.250", "0.125"]
        assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in figure.texts)


class TestMap:
    def test_pca_finds_the_plane_of_the_directions(self):
        rng = np.random.default_rng(0)
        plane = rng.normal(size=(50, 2)) * [0.3, 0.1]
        points, description = map_figure.project(np.concatenate([plane, np.ones([50, 1])], 1), "pca", 0)
        assert abs(np.corrcoef(points[:, 0], plane[:, 0])[0, 1]) > 0.98
        assert description.startswith("PCA: ")

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_any_number_of_images_and_any_width(self):
        random = np.random.default_rng(0)
        for method, shape in (
            ("pca", (3, 1)),
            ("pca", (3, 8)),
            ("pca", (40, 1)),
            ("pca", (40, 8)),
            ("tsne", (3, 1)),
            ("tsne", (40, 8)),
        ):
            points, _ = map_figure.project(random.normal(size=shape), method, 0)
            assert points.shape == (shape[0], 2)
            assert (points.min(), points.max()) == (0, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            for method in ("pca", "tsne"):  # vectors that are all alike
                assert np.isfinite(map_figure.project(np.ones([20, 4]), method, 0)[0]).all()

    def test_tsne_keeps_near_what_is_alike_and_gives_the_same_again(self):
        rng = np.random.default_rng(0)
        features = np.repeat(np.eye(3, 6), 10, 0) + 0.05 * rng.normal(size=(30, 6))
        points, _ = map_figure.project(features, "tsne", 0)
        np.testing.assert_array_equal(points, map_figure.project(features, "tsne", 0)[0])
        centers = points.reshape(3, 10, 2).mean(1)
        own = np.linalg.norm(points[:, None] - centers, axis=-1).argmin(1)
        assert own.tolist() == [0] * 10 + [1] * 10 + [2] * 10

    def test_pictures_do_not_overlap(self):
        points = np.random.default_rng(0).uniform(size=(2000, 2))
        rows = map_figure.choose_pictures(points, 0)
        figure = map_figure.map_figure(
            points, rows, np.zeros([len(rows), 44, 44, 3], np.uint8), np.full(2000, -1), None, "m", "d"
        )
        figure.canvas.draw()
        boxes = [picture.get_window_extent() for picture in figure.axes[0].artists]
        assert len(boxes) == len(rows) > 50
        low, high = (np.array([getattr(box, corner) for box in boxes]) for corner in ("p0", "p1"))
        overlap = ((low[:, None] < high[None]) & (low[None] < high[:, None])).all(axis=-1)
        assert overlap.sum() == len(rows)  # each with itself

    def test_legend_and_colors(self):
        def draw(labels, names):
            points = np.random.default_rng(0).uniform(size=(len(labels), 2))
            figure = map_figure.map_figure(points, [], [], labels, names, "m" * 200, "d")
            figure.canvas.draw()
            assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in figure.texts)
            colors = [to_hex(color) for color in figure.axes[0].collections[0].get_facecolors()]
            return colors, [text.get_text() for legend in figure.legends for text in legend.get_texts()]

        colors, names = draw(np.array([0, 2, -1, 2]), ("_a", "b", "c" * 90))
        assert names == ["_a", "c" * 19 + "…", "not labeled"]
        assert len(set(colors)) == 3
        assert colors[1] == colors[3]
        assert draw(np.arange(200), None)[1] == []
        assert draw(np.array([-1, -1]), None) == ([BLUE] * 2, [])


class TestCommand:
    def test_it_draws_and_says_where(self, photos, tmp_path):
        out = tmp_path / "out"
        code, said, error = run(visualize, f"--features={tmp_path}/f.npz", f"--out={out}", "--queries=3")
        assert (code, error) == (0, "")
        assert said.splitlines() == [
            f"neighbors {out}/neighbors.png",
            f"map       {out}/map.png",
            f"projector tensorboard --logdir={out}/projector",
        ]
        assert sorted(os.listdir(out)) == ["map.png", "neighbors.png", "projector"]
        assert np.asarray(Image.open(out / "neighbors.png")).shape[0] > 3 * 112
        lines = (out / "projector" / "metadata.tsv").read_text().splitlines()
        assert lines[1] == "0.png\tant"
        assert len(lines) == 13

    def test_of_many_images_a_choice_is_drawn(self, photos, tmp_path, monkeypatch):
        from simclr_keras.tools.figures import projector

        monkeypatch.setattr(projector, "MOST_POINTS", 5)
        monkeypatch.setitem(map_figure.MOST, "tsne", 6)
        code, said, _ = run(visualize, f"--features={tmp_path}/f.npz", f"--out={tmp_path}/o", "--map=tsne")
        assert code == 0
        assert said.endswith("projector, 5 of 12 images\n")
        assert len((tmp_path / "o" / "projector" / "tensors.tsv").read_text().splitlines()) == 5

    def test_a_model_s_images_are_embedded_first(self, models, photos, tmp_path):
        words = [f"--model={models}/run", f"--images={tmp_path}/photos", f"--out={tmp_path}/o", "--queries=2"]
        code, said, _ = run(visualize, *words)
        assert code == 0
        assert said.splitlines()[0].startswith("model    ")
        assert len(feature_files.read(str(tmp_path / "o" / "features.npz"))) == 12
        code, _, error = run(visualize, *words)
        assert code == 2
        assert f"to draw its features again, give --features={tmp_path}/o/features.npz" in error
        assert run(visualize, *words, "--overwrite", "--seed=1")[0] == 0

    def test_labels_are_those_of_the_embedding(self, models, tmp_path):
        """Images beside class folders count only with --labels."""
        flat(tmp_path / "photos", 2)
        flat(tmp_path / "photos" / "ant", 2)
        (tmp_path / "labels.csv").write_text("filename,label\n0.png,bee\nant/0.png,ant\n")
        words = [f"--images={tmp_path}/photos", f"--labels={tmp_path}/labels.csv", f"--out={tmp_path}/o"]
        assert run(visualize, f"--model={models}/run", *words, "--queries=2")[0] == 0
        words = [f"--features={tmp_path}/o/features.npz", "--queries=2"]
        assert run(visualize, *words, f"--out={tmp_path}/again")[0] == 0
        # Given anew, the images need no CSV that may have moved too.
        (tmp_path / "labels.csv").unlink()
        (tmp_path / "photos" / "0.png").unlink()
        (tmp_path / "photos" / "1.png").unlink()
        assert (
            "labels.csv"
            not in run(visualize, *words, f"--images={tmp_path}/photos", f"--out={tmp_path}/m")[2]
        )

    def test_images_that_have_moved_are_given_anew(self, photos, tmp_path):
        (tmp_path / "photos").rename(tmp_path / "moved")
        words = [f"--features={tmp_path}/f.npz", f"--out={tmp_path}/o", "--queries=2"]
        code, _, error = run(visualize, *words)
        assert (code, error.count("\n")) == (2, 1)
        assert run(visualize, *words, f"--images={tmp_path}/moved")[0] == 0

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--features={}/f.npz"], "--out is missing"),
            (["--out={}/o"], "no features: give --features=FILE"),
            (["--model=m", "--out={}/o"], "no features"),
            (["--features={}/f.npz", "--model=m", "--out={}/o"], "leave out --model"),
            (["--features={}/none.npz", "--out={}/o"], "not found"),
            (["--features={}/f.npz", "--out={}/no/o"], "does not exist; create it"),
            (["--features={}/f.npz", "--out={}/f.npz"], "is a file; give a folder"),
            (
                ["--features={}/f.npz", "--out={}/old"],
                "contains map.png; give another folder, or --overwrite",
            ),
            (["--features={}/f.npz", "--out={}/o", "--map=umap"], "--map=umap is unknown: "),
            (["--features={}/f.npz", "--out={}/o", "--queries=900"], "at most 50"),
            (["--features={}/f.csv", "--out={}/o"], "must end in .npz or .parquet"),
            (["--features={}/bare.npz", "--out={}/o"], "does not name its images; give --images"),
        ],
    )
    def test_what_is_wrong_is_one_line_and_code_2(self, photos, tmp_path, words, said):
        feature_files.write(str(tmp_path / "f.csv"), photos)
        feature_files.write(str(tmp_path / "bare.npz"), dataclasses.replace(photos, facts={}))
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "map.png").write_text("mine")
        code, out, error = run(visualize, *(word.format(tmp_path) for word in words))
        assert (code, out) == (2, "")
        assert said in error
        assert error.count("\n") == 1
        assert not (tmp_path / "o").exists()
        assert (tmp_path / "old" / "map.png").read_text() == "mine"
