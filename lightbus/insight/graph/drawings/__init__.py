"""The forms in which a graph is drawn; each is made of the same :class:`~.picture.Picture`."""
