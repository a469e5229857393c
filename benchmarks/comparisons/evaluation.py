"""kNN: features and neighbors of small images, and neighbors in larger and larger banks, against lightly's."""

from benchmarks.side_by_side.cases import OURS, PEER, Case, Side
from benchmarks.sides.lightly import import_lightly
from benchmarks.sides.ours import start_tensorflow

CLASSES, NEIGHBORS, TEMPERATURE = 10, 200, 0.1


def cases(quick: bool) -> list[Case]:
    """Return the cases; quick: a tiny network, few images."""
    model, bank, queries = ("r18_0.05x_sk0", 64, 16) if quick else ("r18_0.25x_sk0", 50_000, 10_000)
    settings = {"model": model, "bank": bank, "queries": queries}
    listed = [
        Case(
            f"features and kNN of {queries:,} against {bank:,}, {model}, 32 px",
            {"ours": Side(features_and_neighbors, settings, OURS)},
            rounds=3,
            warm_up=1,
            most_seconds=20,
        )
    ]
    # A tenth of ImageNet's training images, and parts of it: seconds per row of the bank and query extrapolate.
    for rows in (64, 128) if quick else (32_029, 64_058, 128_117):
        settings = {"rows": rows, "queries": 16 if quick else 1000, "dimensions": 16 if quick else 2048}
        sides = {
            "ours": Side(neighbors, settings, OURS),
            "lightly": Side(lightly_neighbors, settings, PEER, lightly=True),
        }
        name = f"kNN of {settings['queries']:,} against {rows:,} x {settings['dimensions']}"
        listed.append(Case(name, sides, rounds=3, warm_up=1, size=rows, series="kNN by rows of the bank"))
    return listed


def features_and_neighbors(model, bank, queries):
    """Return a Run of the features of both sets of 32-pixel images, then the accuracy of kNN."""
    start_tensorflow()
    import numpy as np
    import tensorflow as tf

    from simclr_keras.data.sources.source import ArrayStore, RowIds, Source
    from simclr_keras.evaluation.features import Extractor
    from simclr_keras.evaluation.knn import knn_accuracy
    from simclr_keras.models.zoo import create_model

    def make_source(count):
        rng = np.random.default_rng(count)
        images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
        return Source("arrays", ArrayStore(images), RowIds("all", count), rng.integers(0, CLASSES, count))

    sources = make_source(bank), make_source(queries)
    extract = Extractor(
        create_model(model, image_size=32),
        tf.distribute.get_strategy(),
        image_size=32,
        batch_size=512,
        endpoints=["final_avg_pool"],
    )

    def run():
        features = [extract(source) for source in sources]
        arrays = [array for part in features for array in (part["final_avg_pool"], part["label"])]
        return {"top1": knn_accuracy(*arrays, num_classes=CLASSES).top1}

    return run


def make_features(rows, queries, dimensions):
    """Return features of a bank, its labels, and features of queries."""
    import numpy as np

    rng = np.random.default_rng(0)
    bank = rng.standard_normal((rows, dimensions), np.float32)
    return bank, rng.integers(0, CLASSES, rows), rng.standard_normal((queries, dimensions), np.float32)


def neighbors(rows, queries, dimensions):
    """Return a Run of our kNN."""
    from simclr_keras.evaluation.knn import knn_predict

    bank, labels, asked = make_features(rows, queries, dimensions)

    def run():
        knn_predict(bank, labels, asked, num_classes=CLASSES, k=NEIGHBORS, temperature=TEMPERATURE)

    return run


def lightly_neighbors(rows, queries, dimensions):
    """Return a Run of lightly's kNN, with the normalization of the features that its benchmarks do."""
    import_lightly()
    import torch
    from lightly.utils.benchmarking import knn_predict

    bank, labels, asked = map(torch.from_numpy, make_features(rows, queries, dimensions))

    def run():
        unit = [torch.nn.functional.normalize(features, dim=1) for features in (asked, bank)]
        knn_predict(unit[0], unit[1].t().contiguous(), labels, CLASSES, min(NEIGHBORS, rows), TEMPERATURE)

    return run
