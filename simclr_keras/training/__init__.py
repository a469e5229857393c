"""The run: its machinery (engine) and one module per stage (stages)."""
