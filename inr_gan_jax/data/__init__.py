"""Real images: tfds builders and data sources, read through grain."""
