"""Diffusion models in the layout of diffusers, for rethaw."""
