"""Threads for code that blocks: a pool of them, and lanes in which each takes many calls."""
