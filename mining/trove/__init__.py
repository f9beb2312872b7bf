"""Stages on datatrove, for those whose cluster is Slurm or Ray; nothing else here imports it."""
