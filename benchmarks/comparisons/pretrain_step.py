"""One pretraining step, against lightly, plain Keras 3 and tf_keras.

Ours includes the augmentation of both views, LARS and the metrics; the peers get finished views and take SGD.
"""

from benchmarks.side_by_side.cases import BESIDE, OURS, Case, Side
from benchmarks.sides import lightly, ours, plain_keras

WORK = ((18, 32, 64), (18, 32, 128), (50, 224, 8))  # depth, image size, batch


def cases(quick: bool) -> list[Case]:
    """Return the cases; quick: tiny networks and images."""
    work = ((9, 8, 2),) if quick else WORK
    return [
        make_case(depth, image_size, batch_size, precision, "r18_0.05x_sk0" if quick else f"r{depth}_1x_sk0")
        for depth, image_size, batch_size in work
        for precision in (("float32",) if quick else ("float32", "bfloat16"))
    ]


def make_case(depth: int, image_size: int, batch_size: int, precision: str, model: str) -> Case:
    """Return one case with all its sides."""
    shape = {"image_size": image_size, "batch_size": batch_size, "precision": precision}
    sides = {"ours": Side(ours.pretrain_step, {"model": model, **shape}, OURS)}
    for name, package in (("Keras 3", "keras"), ("tf_keras", "tf_keras")):
        sides[name] = Side(plain_keras.pretrain_step, {"package": package, "depth": depth, **shape})
    for name, channels_last in (("lightly", False), ("lightly, channels last", True)):
        settings = {"depth": depth, "channels_last": channels_last, **shape}
        sides[name] = Side(lightly.pretrain_step, settings, lightly=True)
    sides["a matrix product"] = Side(ours.matrix_product, {"precision": precision}, BESIDE)
    return Case(
        f"r{depth}, {image_size} px, batch {batch_size}, {precision}",
        sides,
        units=batch_size,
        unit="images",
        least_ratio=1.1 if precision == "float32" else 1.0,
    )
