"""INR-GAN in JAX: adversarial generation of continuous images (arXiv 2011.12026)."""

__version__ = "0.1.0"
