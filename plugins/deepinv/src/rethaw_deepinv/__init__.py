"""The denoisers of deepinv, for rethaw."""
