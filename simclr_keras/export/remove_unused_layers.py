"""Remove the layers of a network that the selected endpoints do not need."""

from collections.abc import Iterable

from simclr_keras.export.endpoints import OF_CLASSES, REPRESENTATION, select_endpoints, signature_endpoints
from simclr_keras.models.simclr import SimCLRModel


def remove_unused_layers(
    model: SimCLRModel, names: Iterable[str] | None, source: str = "the model"
) -> SimCLRModel:
    """Return a smaller network with copies of the weights of these endpoints; the model itself for None.

    Args:
        names: of signatures: encoder, proj_head_0 .., logits, probabilities. source: of the model, for messages.

    Raises:
        InputError: it has no such endpoint.
    """
    heads = [f"proj_head_{layer}" for layer in range(model.projection_head.depth + 1)]
    classifier = () if model.classifier is None else OF_CLASSES
    selected = select_endpoints(signature_endpoints([REPRESENTATION, *heads, *classifier]), names, source)
    if names is None:
        return model
    layers = [heads.index(name) for name in selected if name in heads]
    classifies = not {*OF_CLASSES}.isdisjoint(selected)
    layers += [model.head_layer] if classifies else []
    config = model.get_config() | {"kept_head_layers": max(layers, default=0)}
    if not classifies:
        config |= {"num_classes": None, "head_layer": 0, "class_names": None}
    smaller = SimCLRModel.from_config(config)
    smaller.build((None, model.fixed_size, model.fixed_size, 3))
    values = {variable.path: variable for variable in model.variables}
    for variable in smaller.variables:
        variable.assign(values[variable.path])
    return smaller
