"""The playground in the browser: `rethaw serve`."""
