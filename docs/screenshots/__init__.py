"""Pictures for the pages, of commands that really run and of an editor: ``python -m docs.screenshots``."""
