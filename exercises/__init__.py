"""What the exercises ask for: one module per chapter, each with its `check`."""
