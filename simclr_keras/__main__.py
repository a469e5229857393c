"""python -m simclr_keras COMMAND: the same as simclr COMMAND."""

from simclr_keras.commands.main import script

if __name__ == "__main__":
    script()
