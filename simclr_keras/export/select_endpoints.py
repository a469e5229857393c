"""A network without the layers that the asked endpoints do not need."""

from simclr_keras.export.endpoints import LOGITS, REPRESENTATION, chosen, signature_endpoints
from simclr_keras.models.simclr import SimCLRModel


def truncated(model, names, source="the model"):
    """Returns a network that has these endpoints, with the weights of the given one, which is left as it is.

    Args:
        model: built SimCLRModel.
        names: of signatures: encoder, proj_head_0 .., logits; None for all, which returns the model itself.
        source: what it comes from, for messages.

    Raises:
        InputError: it has no such endpoint.
    """
    heads = [f"proj_head_{layer}" for layer in range(model.projection_head.depth + 1)]
    classifier = [] if model.classifier is None else [LOGITS]
    wanted = chosen(signature_endpoints([REPRESENTATION, *heads, *classifier]), names, source)
    if names is None:
        return model
    layers = [heads.index(name) for name in wanted if name in heads]
    layers += [model.head_layer] if LOGITS in wanted else []
    config = model.get_config() | {"kept_head_layers": max(layers, default=0)}
    if LOGITS not in wanted:
        config |= {"num_classes": None, "head_layer": 0}
    smaller = SimCLRModel.from_config(config)
    smaller.build((None, model.fixed_size, model.fixed_size, 3))
    values = {variable.path: variable for variable in model.variables}
    for variable in smaller.variables:
        variable.assign(values[variable.path])
    return smaller
