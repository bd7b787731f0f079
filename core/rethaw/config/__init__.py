"""YAML to a validated config: composition, overrides, errors with their place, JSON Schema. No torch."""

from rethaw.config.load import load_config, load_text
from rethaw.config.model import Config

__all__ = ["Config", "load_config", "load_text"]
