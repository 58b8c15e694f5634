"""From a prepared set to batches on devices."""
