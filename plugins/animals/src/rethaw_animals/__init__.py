"""Animal faces that images turn into, for rethaw."""
