"""The part of a stage that starts from the run in --init."""

from simclr_keras.interop.open_source import open_source
from simclr_keras.runs import ancestors


class FromRun:
    """Mixed into a Stage, before it.

    Attributes:
        ancestor: the OpenRun in --init; None if the stage does without, which pretraining may.
    """

    ancestor = None

    def inherit(self, config):
        if config.init is None:
            return config
        self.ancestor = open_source(
            config.init, config.init_checkpoint, "init", finished=True, ema=config.use_ema
        )
        config = ancestors.inherit(config, self.ancestor, "init")
        ancestors.check_same_model(config, self.ancestor, "init")
        return self.choose_head_layer(config)

    def choose_head_layer(self, config):
        """Return the config with the layer of the projection head; raise InputError if there is no such layer."""
        if config.head_layer is not None:
            ancestors.check_head_layer(config.head_layer, self.ancestor)
        return config

    def lineage(self):
        return self.ancestor.as_ancestors() if self.ancestor else []

    def source_runs(self):
        return [self.ancestor] if self.ancestor else []
