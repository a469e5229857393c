"""The installed command `simclr COMMAND`: its table of commands, and those that no other room has."""
