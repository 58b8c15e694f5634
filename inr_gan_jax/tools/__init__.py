"""One command per property of a continuous image."""
