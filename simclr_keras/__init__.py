"""simclr_keras: SimCLRv2 for Keras 3 and TensorFlow 2. The public names, imported on first use."""

import importlib

from simclr_keras.version import __version__

# TensorFlow takes seconds to import, so each name is fetched when it is first asked for.
_PUBLIC = {
    "create_model": "simclr_keras.models.zoo",
    "list_models": "simclr_keras.models.zoo",
    "model_record": "simclr_keras.models.zoo",
    "SimCLRModel": "simclr_keras.models.simclr",
    "ContrastiveLearner": "simclr_keras.objectives.contrastive",
    "Classifier": "simclr_keras.objectives.classification",
    "Distiller": "simclr_keras.objectives.distillation",
    "load_published": "simclr_keras.interop.published",
    "HubLayer": "simclr_keras.export.loading.hub_layer",
    "load_run": "simclr_keras.runs.open_run",
    "nt_xent": "simclr_keras.objectives.nt_xent",
    "LARS": "simclr_keras.optim.lars",
    "WarmupCosine": "simclr_keras.optim.schedules",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'simclr_keras' has no attribute {name!r}")
    from simclr_keras.backend import require_tensorflow

    require_tensorflow()
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_PUBLIC])
