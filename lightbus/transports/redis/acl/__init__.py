"""Permissions in Redis: what each role needs, and the rules that allow it and nothing else."""
