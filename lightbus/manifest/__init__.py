"""From the text of a manifest to one frozen :class:`~lightbus.manifest.model.Manifest`."""

#: The file that is read where none is named.
DEFAULT_FILE = "lightbus.yaml"
#: Other names that somebody may have given it: they are told of, but not read.
OVERLOOKED = ("lightbus.yml", "lightbus.json")
