"""Configurations: only what differs from the defaults, which docs/configuration.md lists with all keys."""
