"""Checkpoints: saving, reading, and noticing damage."""
