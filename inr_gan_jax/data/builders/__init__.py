"""tfds builders that need no TensorFlow."""
