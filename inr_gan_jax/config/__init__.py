"""The configuration of a run: schema, parsing and validation."""
