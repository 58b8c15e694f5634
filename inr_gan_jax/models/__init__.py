"""Flax modules of the networks; fields in, arrays out."""
