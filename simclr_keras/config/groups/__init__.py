"""Groups of settings that several stages share: each is a dataclass from which the configs of stages inherit."""
