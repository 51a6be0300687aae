"""The drawings of the pages: ``python -m docs.drawings`` writes them anew."""
