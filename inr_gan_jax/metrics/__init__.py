"""Distances between image sets. They take arrays and callables and are independent of models."""
