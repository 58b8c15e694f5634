"""Configurations: values only. `default.py` documents every key."""
