"""What the stages share that go on from the run in --init."""

from simclr_keras.runs import ancestors


class FromRun:
    """Mixed into a Stage, before it.

    Attributes:
        ancestor: the Ancestor it goes on from.
    """

    def inherit(self, config):
        self.ancestor = ancestors.find(config.init, "init", config.init_checkpoint)
        config = ancestors.inherit(config, self.ancestor, "init")
        ancestors.check_same_model(config, self.ancestor, "init")
        return self.settle(config)

    def settle(self, config):
        """Returns the config with what else the stage leaves open to the ancestor; checks what it asks of it."""
        return config

    def lineage(self):
        return self.ancestor.lineage()

    def selection(self):
        return self.ancestor.selection(self.config, self.known_by)
