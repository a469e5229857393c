"""tools.visualize: neighbors and map are right, the pictures show them, and what is wrong is said."""

import os

import numpy as np
import pytest
from PIL import Image

from simclr_keras.errors import InputError
from simclr_keras.evaluation.drawing import GREEN, ORANGE
from simclr_keras.tools import visualize
from simclr_keras.tools.features import feature_files
from simclr_keras.tools.features.feature_files import Features
from simclr_keras.tools.figures import map_figure, neighbors_figure
from tests.data.pictures import flat
from tests.evaluation.pixels import panel, pixels_of, texts
from tests.tools.models_to_run import run

pytestmark = pytest.mark.slow  # together, as each loads or makes networks


@pytest.fixture
def photos(tmp_path):
    """Features of 12 images, of which 4 have no label, and the images."""
    flat(tmp_path / "photos", 12)
    features = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    labels = np.array([0, 1] * 4 + [-1] * 4, np.int32)
    ids = sorted(f"{i}.png" for i in range(12))
    held = Features(
        features, ids, labels, ("ant", "bee"), {"images": f"folder:{tmp_path}/photos", "model": "runs/a"}
    )
    feature_files.write(str(tmp_path / "f.npz"), held)
    return held


class TestNeighbors:
    def test_they_are_those_of_the_largest_cosine(self):
        features = np.random.default_rng(0).normal(size=(30, 4))
        rows, cosines = neighbors_figure.nearest(features, np.array([3, 17]), 5)
        for query, found, told in zip((3, 17), rows, cosines):
            other = [
                (-np.dot(features[query], v) / np.linalg.norm(features[query]) / np.linalg.norm(v), row)
                for row, v in enumerate(features)
                if row != query
            ]
            expected = sorted(other)[:5]
            assert found.tolist() == [row for _, row in expected]
            np.testing.assert_allclose(told, [-c for c, _ in expected], rtol=1e-6)

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

    def test_the_figure_shows_each_picture_as_it_is_in_its_place(self):
        side = neighbors_figure.SIDE
        pictures = np.random.default_rng(0).integers(0, 256, (2, 4, side, side, 3), np.uint8)
        names = [["ant", "ant", "bee", ""], ["", "ant", "bee", ""]]
        figure = neighbors_figure.neighbors_figure(
            pictures, names, names, np.full([2, 3], 0.5), ["a.png", "b.png"], "m"
        )
        drawn = pixels_of(figure)
        for axes, picture in zip(figure.axes, pictures.reshape(-1, side, side, 3), strict=True):
            np.testing.assert_array_equal(panel(figure, drawn, axes), picture)

    def test_classes_are_marked_where_the_query_has_one(self):
        pictures = np.zeros([2, 4, 112, 112, 3], np.uint8)
        names = [["ant", "ant", "bee", ""], ["", "ant", "bee", ""]]
        figure = neighbors_figure.neighbors_figure(pictures, names, names, np.zeros([2, 3]), ["", ""], "m")
        colors = [text.get_color() for text in figure.texts if text.get_text() in ("ant", "bee")]
        assert colors[1:3] == [GREEN, ORANGE]
        assert colors.count(GREEN) == colors.count(ORANGE) == 1

    def test_long_titles_stay_in_their_cards_and_file_names_keep_their_ends(self):
        names = [[f"IMG_{'x' * 60}_{i}" for i in range(4)]]
        figure = neighbors_figure.neighbors_figure(
            np.zeros([1, 4, 112, 112, 3], np.uint8), names, [[""] * 4], np.zeros([1, 3]), [""], "m" * 300
        )
        shown = [text for text in figure.texts if text.get_text().startswith("…")]
        assert [text.get_text()[-2:] for text in shown] == ["_0", "_1", "_2", "_3"]
        assert all(90 < text.get_window_extent().width <= 112 for text in shown)
        width = figure.get_size_inches()[0] * figure.dpi
        assert all(text.get_window_extent().x1 <= width for text in figure.texts)


class TestMap:
    def test_pca_finds_the_plane_of_the_directions(self):
        rng = np.random.default_rng(0)
        plane = rng.normal(size=(50, 2)) * [0.3, 0.1]
        points, told = map_figure.places(np.concatenate([plane, np.ones([50, 1])], 1), "pca", 0)
        assert abs(np.corrcoef(points[:, 0], plane[:, 0])[0, 1]) > 0.98
        assert told.startswith("PCA: ")

    @pytest.mark.parametrize("method", ["pca", "tsne"])
    @pytest.mark.parametrize(("count", "width"), [(3, 1), (3, 8), (40, 1), (40, 8)])
    def test_any_number_of_images_and_any_width(self, method, count, width):
        features = np.random.default_rng(0).normal(size=(count, width))
        points, _ = map_figure.places(features, method, 0)
        assert points.shape == (count, 2)
        assert np.isfinite(points).all()

    @pytest.mark.parametrize("method", ["pca", "tsne"])
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_vectors_that_are_all_alike(self, method):
        points, _ = map_figure.places(np.ones([20, 4]), method, 0)
        pixels = map_figure.in_pixels(points, {})
        assert np.isfinite(pixels).all()

    def test_tsne_keeps_near_what_is_alike_and_gives_the_same_again(self):
        rng = np.random.default_rng(0)
        features = np.repeat(np.eye(3, 6), 20, 0) + 0.05 * rng.normal(size=(60, 6))
        points, _ = map_figure.places(features, "tsne", 0)
        np.testing.assert_array_equal(points, map_figure.places(features, "tsne", 0)[0])
        centers = points.reshape(3, 20, 2).mean(1)
        own = np.linalg.norm(points[:, None] - centers, axis=-1).argmin(1)
        assert own.tolist() == [0] * 20 + [1] * 20 + [2] * 20

    def test_two_images_are_too_few(self):
        with pytest.raises(InputError, match="at least 3 images"):
            map_figure.places(np.ones([2, 4]), "pca", 0)

    def test_pictures_never_touch_and_there_is_room_for_no_other(self):
        pixels = np.random.default_rng(0).uniform(0, 800, (3000, 2))
        chosen = map_figure.choose_pictures(pixels, 0)
        apart = np.abs(pixels[chosen][:, None] - pixels[chosen]).max(-1)
        np.fill_diagonal(apart, np.inf)
        assert apart.min() >= map_figure.SIDE + 4
        to_chosen = np.abs(pixels[:, None] - pixels[chosen]).max(-1).min(1)
        assert to_chosen.max() < map_figure.SIDE + 10

    def test_the_figure_shows_pictures_as_they_are_in_their_places(self):
        pixels = np.array([[100.2, 200.7], [400.0, 300.0], [700.0, 500.0]])
        pictures = np.random.default_rng(0).integers(0, 256, (2, 44, 44, 3), np.uint8)
        figure = map_figure.map_figure(pixels, [0, 1], pictures, None, {}, "m", "told")
        (axes,) = figure.axes
        drawn = panel(figure, pixels_of(figure), axes)
        for (x, y), picture in zip(pixels, pictures):
            left, top = round(x - 22), round(y - 22)
            np.testing.assert_array_equal(drawn[top : top + 44, left : left + 44], picture)

    def test_the_legend_names_the_classes_that_are_there(self):
        labels = np.array([0, 2, -1])
        legend = map_figure.legend_of(labels, ("a", "b", "c" * 90))
        assert list(legend) == [0, 2]
        figure = map_figure.map_figure(
            map_figure.in_pixels(np.eye(3, 2), legend), [], [], labels, legend, "m" * 200, "told"
        )
        shown = texts(figure)
        assert "a" in shown
        assert "not labeled" in shown
        width = figure.get_size_inches()[0] * figure.dpi
        assert all(text.get_window_extent().x1 <= width for text in figure.texts)
        assert map_figure.legend_of(np.arange(200), None) == {}
        assert map_figure.legend_of(None, None) == {}


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
        monkeypatch.setattr(map_figure, "MOST_TSNE", 6)
        code, said, _ = run(visualize, f"--features={tmp_path}/f.npz", f"--out={tmp_path}/o", "--map=tsne")
        assert code == 0
        assert said.endswith("projector, 5 of 12 images\n")
        assert len((tmp_path / "o" / "projector" / "tensors.tsv").read_text().splitlines()) == 5

    def test_a_model_s_images_are_embedded_first(self, models, photos, tmp_path):
        words = [f"--model={models}/run", f"--images={tmp_path}/photos", f"--out={tmp_path}/o"]
        code, said, _ = run(visualize, *words)
        assert code == 0
        assert said.splitlines()[0].startswith("model    ")
        assert len(feature_files.read(str(tmp_path / "o" / "features.npz"))) == 12
        code, _, error = run(visualize, *words)
        assert code == 2
        assert f"drawn again with --features={tmp_path}/o/features.npz" in error
        assert run(visualize, *words, "--overwrite", "--seed=1")[0] == 0

    def test_images_that_have_moved_are_given_anew(self, photos, tmp_path):
        (tmp_path / "photos").rename(tmp_path / "moved")
        words = [f"--features={tmp_path}/f.npz", f"--out={tmp_path}/o"]
        code, _, error = run(visualize, *words)
        assert (code, error.count("\n")) == (2, 1)
        assert run(visualize, *words, f"--images={tmp_path}/moved")[0] == 0

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--features={}/f.npz"], "--out is missing"),
            (["--out={}/o"], "nothing to draw: give --features=FILE"),
            (["--model=m", "--out={}/o"], "nothing to draw"),
            (["--features={}/f.npz", "--model=m", "--out={}/o"], "leave out --model"),
            (["--features={}/none.npz", "--out={}/o"], "there is no such file"),
            (["--features={}/f.npz", "--out={}/no/o"], "there is no folder"),
            (["--features={}/f.npz", "--out={}/f.npz"], "is a file; give a folder"),
            (
                ["--features={}/f.npz", "--out={}/old"],
                "holds map.png of before; give another folder, or --overwrite",
            ),
            (["--features={}/f.npz", "--out={}/o", "--map=umap"], "--map=umap must be one of pca, tsne"),
            (["--features={}/f.npz", "--out={}/o", "--queries=900"], "must be at most 50"),
            (["--features={}/f.csv", "--out={}/o"], "does not say where its images are; give --images"),
        ],
    )
    def test_what_is_wrong_is_one_line_and_code_2(self, photos, tmp_path, words, said):
        feature_files.write(str(tmp_path / "f.csv"), photos)
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "map.png").write_text("mine")
        code, out, error = run(visualize, *(word.format(tmp_path) for word in words))
        assert (code, out) == (2, "")
        assert said in error
        assert error.count("\n") == 1
        assert not (tmp_path / "o").exists()
        assert (tmp_path / "old" / "map.png").read_text() == "mine"
