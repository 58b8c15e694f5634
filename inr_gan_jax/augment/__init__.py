"""Augmentation of what the discriminator sees: the adaptive pipeline (ADA) and its light alternative."""
