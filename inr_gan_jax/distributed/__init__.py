"""Several processes, their devices, and interruption."""
