"""One pretraining step of ours with a setting, against the same step without it: time and peak memory."""

from benchmarks.side_by_side.cases import OURS, Case, Side
from benchmarks.sides.ours import pretrain_step

LARGE = {"model": "r50_1x_sk0", "image_size": 224, "batch_size": 16}
SMALL = {"model": "r18_1x_sk0", "image_size": 32, "batch_size": 128}
TINY = {"model": "r18_0.05x_sk0", "image_size": 8, "batch_size": 4}


def cases(quick: bool) -> list[Case]:
    """Return the cases; quick: two of them, with a tiny network."""
    if quick:
        queue = {"memory": "queue", "memory_size": 64}
        return [make_case("--memory=queue", TINY, queue), make_case("2 replicas", TINY, {"replicas": 2})]
    unfused, parts = {**SMALL, "fused": False}, {**SMALL, "batch_size": 4 * SMALL["batch_size"]}
    return [
        make_case("--remat", LARGE, {"remat": True}),
        make_case("--microbatch_size, four of them", parts, {"microbatch_size": SMALL["batch_size"]}),
        make_case("--memory=queue", SMALL, {"memory": "queue", "memory_size": 65_536}),
        make_case("2 replicas on the same cores, fused on one", SMALL, {"replicas": 2}),
        make_case("2 replicas, not fused on either side", unfused, {"replicas": 2}),
        make_case("batch normalization that is not fused", SMALL, {"fused": False}),
        make_case("bfloat16 against float32", SMALL, {"precision": "bfloat16"}),
    ]


def make_case(name: str, settings: dict, change: dict) -> Case:
    """Return the case of a step with the changed settings, against one without."""
    sides = {
        "with": Side(pretrain_step, {**settings, **change}, OURS),
        "without": Side(pretrain_step, settings),
    }
    work = f"{settings['model']}, {settings['image_size']} px, batch {settings['batch_size']}"
    return Case(f"{name}: {work}", sides, units=settings["batch_size"], unit="images")
