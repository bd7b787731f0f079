"""The engine: pipelines, restorers, trajectories, training, evaluation, and the run folder."""
