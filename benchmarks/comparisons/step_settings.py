"""One pretraining step of ours with a setting, against the same step without it: time and peak memory."""

from benchmarks.side_by_side.cases import OURS, Case, Side
from benchmarks.sides.ours import pretrain_step

LARGE = {"model": "r50_1x_sk0", "image_size": 224, "batch_size": 16}
SMALL = {"model": "r18_1x_sk0", "image_size": 32, "batch_size": 128}
TINY = {"model": "r18_0.05x_sk0", "image_size": 8, "batch_size": 4}


def cases(quick: bool) -> list[Case]:
    """Return the cases; quick: a tiny network, and not --remat, whose tests are elsewhere."""
    small = TINY if quick else SMALL
    size = small["batch_size"]
    return [
        *([] if quick else [make_case("--remat", LARGE, {"remat": True})]),
        make_case(
            "--microbatch_size, four of them", {**small, "batch_size": 4 * size}, {"microbatch_size": size}
        ),
        make_case("--memory=queue", small, {"memory": "queue", "memory_size": 64 if quick else 65_536}),
        make_case("2 replicas on the same cores, fused on one", small, {"replicas": 2}),
        make_case("2 replicas, not fused on either side", {**small, "fused": False}, {"replicas": 2}),
        make_case("batch normalization that is not fused", small, {"fused": False}),
    ]


def make_case(name: str, settings: dict, change: dict) -> Case:
    """Return the case of a step with the changed settings, against one without."""
    sides = {
        "with": Side(pretrain_step, {**settings, **change}, OURS),
        "without": Side(pretrain_step, settings),
    }
    work = f"{settings['model']}, {settings['image_size']} px, batch {settings['batch_size']}"
    return Case(f"{name}: {work}", sides, units=settings["batch_size"], unit="images")
