"""Blur and pixelation for rethaw."""
