"""The settings of every stage: frozen dataclasses whose field metadata makes flags, refusals and the reference page."""
