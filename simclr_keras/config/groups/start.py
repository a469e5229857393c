"""Settings of a stage that starts from an earlier run."""

import dataclasses
from typing import ClassVar

from simclr_keras.config.option import option


@dataclasses.dataclass(frozen=True)
class Start:
    """The earlier run; its model, image size and dataset are inherited if they are not given."""

    RUN_FLAGS: ClassVar[tuple[str, ...]] = ("init",)

    init: str | None = option(
        None,
        "Run directory of an earlier, finished stage, FILE.keras, or an address such as published:r50_1x_sk0 "
        "(docs/start_from.md).",
        group="Chain",
        required="give the run directory of an earlier stage, such as --init=runs/pretrain-...",
    )
    init_checkpoint: str = option(
        "last",
        "Checkpoint of --init: the last one, or the best one on its evaluation split.",
        group="Chain",
        choices=("last", "best"),
    )
    use_ema: bool = option(
        False, "Use the momentum network of --init, a pretraining run with --memory=queue.", group="Chain"
    )
    model: str | None = option(
        None, "Encoder; it must be that of --init.", group="Model", default_words="that of --init"
    )
    image_size: int | None = option(
        None,
        "Side of the square images the network sees.",
        group="Model",
        unit="pixels",
        at_least=8,
        at_most=4096,
        default_words="that of --init",
    )
