"""Reading checkpoints of other frameworks without running anything that they contain."""
