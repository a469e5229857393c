"""NT-Xent and its gradient, against lightly's NTXentLoss: time and peak memory."""

from benchmarks.side_by_side.cases import BESIDE, OURS, PEER, Case, Side
from benchmarks.sides.lightly import import_lightly
from benchmarks.sides.ours import start_tensorflow

DIMENSIONS, TEMPERATURE = 128, 0.1


def cases(quick: bool) -> list[Case]:
    """Return the cases; quick: 64 views. The largest one would take the others 17 GB for a matrix alone."""
    if quick:
        return [make_case(64)]
    return [*map(make_case, (1024, 2048, 4096, 8192, 16_384)), make_case(65_536, ours_alone=True, rounds=2)]


def make_case(views: int, ours_alone: bool = False, rounds: int | None = None) -> Case:
    """Return one case with all its sides."""
    sides = {"ours": Side(ours, {"views": views}, OURS)}
    if not ours_alone:
        sides |= {
            "ours, tiled": Side(ours, {"views": views, "most_dense": 0}, BESIDE),
            "ours, one matrix": Side(ours, {"views": views, "most_dense": views**2}, BESIDE),
            "lightly": Side(lightly, {"views": views}, PEER, lightly=True),
        }
    return Case(
        f"{views:,} views x {DIMENSIONS}",
        sides,
        rounds=rounds,
        least_ratio=None if ours_alone else 1.0,
        size=views,
        series="NT-Xent by views",
    )


def embeddings(views):
    """Return those of the first and of the second views, float32 [views / 2, DIMENSIONS] each."""
    import numpy as np

    rng = np.random.default_rng(0)
    first = rng.normal(size=(views // 2, DIMENSIONS)).astype(np.float32)
    return first, first + rng.normal(size=first.shape).astype(np.float32)


def ours(views, most_dense=None):
    """Return a Run of loss, accuracy, entropy and gradient; most_dense: similarities up to which one matrix is made."""
    start_tensorflow()
    import tensorflow as tf

    from simclr_keras.objectives import nt_xent

    default = nt_xent.MOST_DENSE_SIMILARITIES

    @tf.function(autograph=False)
    def step(first, second):
        with tf.GradientTape() as tape:
            tape.watch([first, second])
            result = nt_xent.nt_xent(first, second, temperature=TEMPERATURE)
        return result, tf.linalg.global_norm(tape.gradient(result.loss, [first, second]))

    first, second = map(tf.constant, embeddings(views))

    def run():
        nt_xent.MOST_DENSE_SIMILARITIES = default if most_dense is None else most_dense  # read while tracing
        result, length = step(first, second)
        nt_xent.MOST_DENSE_SIMILARITIES = default
        # Ours adds the two directions, of which lightly takes the mean.
        return {"loss": float(result.loss) / 2, "gradient": float(length) / 2}

    return run


def lightly(views):
    """Return a Run of loss and gradient."""
    import_lightly()
    import torch
    from lightly.loss import NTXentLoss

    loss_of = NTXentLoss(temperature=TEMPERATURE)
    first, second = (torch.from_numpy(values).requires_grad_() for values in embeddings(views))

    def run():
        first.grad = second.grad = None
        loss = loss_of(first, second)
        loss.backward()
        length = float(torch.sqrt((first.grad**2).sum() + (second.grad**2).sum()))
        return {"loss": loss.item(), "gradient": length}

    return run
