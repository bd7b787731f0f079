"""Text as a condition of rethaw's restorers: any text encoder of transformers, frozen."""
