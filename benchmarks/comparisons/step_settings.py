"""One pretraining step of ours with a setting, against the same images without it: time and peak memory."""

from benchmarks.side_by_side.cases import OURS, Case, Side
from benchmarks.sides.ours import pretrain_step

LARGE = {"model": "r50_1x_sk0", "image_size": 224, "batch_size": 16}
SMALL = {"model": "r18_1x_sk0", "image_size": 32, "batch_size": 128}
TINY = {"model": "r18_0.05x_sk0", "image_size": 8, "batch_size": 8}
# How docs/big_batches.md uses the two: a small batch with many negatives, and a large one in parts.
SMALL_BATCH = {**SMALL, "batch_size": 64}
QUEUE = {"memory": "queue", "memory_size": 65_536}
PARTS, PART = {**SMALL, "batch_size": 4096}, 256


def cases(quick: bool) -> list[Case]:
    """Return the cases; quick: three of them, with a tiny network."""
    if quick:
        return [
            make_case("--memory=queue", TINY, {"memory": "queue", "memory_size": 64}),
            make_case("2 replicas", TINY, {"replicas": 2}),
            make_parts(TINY, 4),
        ]
    unfused = {**SMALL, "fused": False}
    return [
        make_case("--remat", LARGE, {"remat": True}),
        make_parts(PARTS, PART, rounds=1, warm_up=1),
        make_case("--memory=queue", SMALL_BATCH, QUEUE),
        make_case("2 replicas on the same cores, fused on one", SMALL, {"replicas": 2}),
        make_case("2 replicas, not fused on either side", unfused, {"replicas": 2}),
        make_case("batch normalization that is not fused", SMALL, {"fused": False}),
        make_case("bfloat16 against float32", SMALL, {"precision": "bfloat16"}),
    ]


def make_case(name: str, settings: dict, change: dict, without: dict | None = None, **of_case: int) -> Case:
    """Return the case of a step with the changed settings, against one without, or with the settings `without`."""
    sides = {
        "with": Side(pretrain_step, {**settings, **change}, OURS),
        "without": Side(pretrain_step, without or settings),
    }
    work = f"{settings['model']}, {settings['image_size']} px, batch {settings['batch_size']}"
    return Case(f"{name}: {work}", sides, units=settings["batch_size"], unit="images", **of_case)


def make_parts(settings: dict, part: int, **of_case: int) -> Case:
    """Return the case of a step in micro-batches, against as many steps of a batch of one of them."""
    steps = settings["batch_size"] // part
    without = {**settings, "batch_size": part, "steps": steps}
    name = f"--microbatch_size={part}, against {steps} steps of batch {part}"
    return make_case(name, settings, {"microbatch_size": part}, without, **of_case)
