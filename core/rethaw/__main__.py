"""`python -m rethaw`."""

from rethaw.cli.main import main

main()
