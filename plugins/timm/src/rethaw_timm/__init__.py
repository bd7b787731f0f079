"""timm's networks for rethaw."""
