"""Library for trained generators: loading, latent codes, viewports, rendering, projection, files, export."""
