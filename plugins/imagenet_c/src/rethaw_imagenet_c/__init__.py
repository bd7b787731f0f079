"""The ImageNet-C corruptions for rethaw."""
