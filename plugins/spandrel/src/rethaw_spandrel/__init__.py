"""Checkpoints that spandrel knows, for rethaw."""
