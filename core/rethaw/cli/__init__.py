"""The command line: one file a command, a thin layer on `rethaw.Pipeline`. Importing it imports no torch."""
