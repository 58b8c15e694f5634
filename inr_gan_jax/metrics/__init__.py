"""Distances between image sets. They take arrays and callables and know no model."""
