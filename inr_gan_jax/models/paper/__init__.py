"""The generator of arXiv 2011.12026v2."""
