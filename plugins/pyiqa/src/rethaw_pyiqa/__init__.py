"""No-reference metrics of pyiqa for rethaw."""
