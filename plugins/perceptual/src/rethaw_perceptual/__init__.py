"""Metrics that people compare by, for rethaw."""
