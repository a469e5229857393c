"""The record of model.json: a run's architecture, as the arguments of `create_model` that rebuild its network."""

import dataclasses
from typing import Any

from simclr_keras.errors import InputError
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.models.zoo import MIN_IMAGE_SIZE, check_name, create_model
from simclr_keras.runs.records import RecordError

# Of weights from PyTorch, see ResNet; model.json has them only if they are not the defaults.
TORCH_LIKE = ("max_pool_padding", "pixel_mean", "pixel_std")


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network without its weights; the fields are arguments of `create_model`."""

    name: str
    image_size: int
    num_classes: int | None = None
    proj_layers: int = 3
    proj_dim: int = 128
    proj_mode: str = "nonlinear"
    proj_hidden_dim: int | None = None
    se_ratio: float = 0.0
    head_layer: int = 0
    kept_head_layers: int | None = None
    stop_gradient: bool = False
    dense_layers: tuple[int, ...] | None = None  # of a keras: or hub: backbone alone
    max_pool_padding: str = "same"
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None

    @classmethod
    def of_pretraining(cls, config: Any, num_classes: int | None) -> "Architecture":
        """Return the encoder and whole head of a PretrainConfig, with a probe if there are classes."""
        return cls(
            name=config.model,
            image_size=config.image_size,
            num_classes=num_classes,
            proj_layers=config.proj_layers,
            proj_dim=config.proj_dim,
            proj_mode=config.proj_mode,
            proj_hidden_dim=config.proj_hidden_dim,
            se_ratio=config.se_ratio,
            head_layer=config.probe_layer,
            stop_gradient=True,
            dense_layers=tuple(config.dense_widths) if is_backbone(config.model) else None,
        )

    @classmethod
    def of_classifier(cls, config: Any, num_classes: int) -> "Architecture":
        """Return a network without a projection head, to be trained from scratch."""
        return cls(
            name=config.model,
            image_size=config.image_size,
            num_classes=num_classes,
            proj_mode="none",
            se_ratio=config.se_ratio,
            dense_layers=tuple(config.dense_widths) if is_backbone(config.model) else None,
        )

    def with_stem_of(self, other: "Architecture") -> "Architecture":
        """Return the same network with what the encoder of another one does to images before its first block."""
        return dataclasses.replace(
            self, **{name: getattr(other, name) for name in ("image_size", *TORCH_LIKE)}
        )

    def with_classifier(self, num_classes: int, head_layer: int) -> "Architecture":
        """Return the same encoder with a classifier on a layer of its head, without the layers above it."""
        return dataclasses.replace(
            self,
            num_classes=num_classes,
            head_layer=head_layer,
            kept_head_layers=head_layer,
            stop_gradient=False,
        )

    @property
    def head_depth(self) -> int:
        """Number of layers of the projection head, without those that were dropped."""
        whole = self.whole_head_depth
        return whole if self.kept_head_layers is None else min(whole, self.kept_head_layers)

    @property
    def whole_head_depth(self) -> int:
        """Number of layers that the projection head had in pretraining."""
        return {"nonlinear": self.proj_layers, "linear": 1, "none": 0}[self.proj_mode]

    def build(self, dtype: str = "float32", **arguments: Any) -> Any:
        """Return the network with fresh weights. arguments: further ones of `create_model`."""
        return create_model(**{**self.to_json(), **arguments}, dtype=dtype)

    def to_json(self) -> dict[str, Any]:
        """Return the dict that model.json holds: arguments of `create_model`."""
        values = dataclasses.asdict(self)
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in ("dense_layers", *TORCH_LIKE):
            if values[name] == defaults[name]:
                del values[name]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Architecture":
        """Return the architecture that model.json holds.

        Raises:
            RecordError: a value is missing, unknown or of the wrong kind.
        """
        for name, value in values.items():
            if name not in _CHECKS or not _CHECKS[name](value):
                raise RecordError(f"{name} is {value!r}")
        if not {"name", "image_size"} <= values.keys():
            raise RecordError("it has no name or image_size")
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, (list, tuple))}
        architecture = cls(**{**values, **lists})
        if (architecture.pixel_mean is None) != (architecture.pixel_std is None):
            raise RecordError("it has only one of pixel_mean and pixel_std")
        if architecture.head_layer > architecture.head_depth:
            raise RecordError(f"head_layer is {architecture.head_layer}, of {architecture.head_depth} layers")
        return architecture


def _integer(least: int, optional: bool = False) -> Any:
    return lambda value: (optional and value is None) or (type(value) is int and value >= least)


def _is_model_name(value: Any) -> bool:
    try:
        check_name(value)
    except InputError:
        return False
    return True


def _is_three_numbers(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 3 and all(type(number) in (int, float) for number in value)
    )


_CHECKS = {
    "name": _is_model_name,
    "num_classes": _integer(1, optional=True),
    "proj_layers": _integer(0),
    "proj_dim": _integer(1),
    "proj_mode": lambda value: value in ("nonlinear", "linear", "none"),
    "proj_hidden_dim": _integer(1, optional=True),
    "image_size": _integer(MIN_IMAGE_SIZE),
    "se_ratio": lambda value: type(value) in (int, float) and 0 <= value <= 1,
    "head_layer": _integer(0),
    "kept_head_layers": _integer(0, optional=True),
    "stop_gradient": lambda value: type(value) is bool,
    "dense_layers": lambda value: type(value) is list and all(map(_integer(1), value)),
    "max_pool_padding": lambda value: value in ("same", "torch"),
    "pixel_mean": lambda value: value is None or _is_three_numbers(value),
    "pixel_std": lambda value: value is None or (_is_three_numbers(value) and min(value) > 0),
}
