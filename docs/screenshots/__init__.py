"""Pictures of a terminal for the pages, of commands that are really run: ``python -m docs.screenshots``."""
