"""The generators of the published code."""
