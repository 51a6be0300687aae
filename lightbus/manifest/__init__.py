"""From the text of a manifest to one frozen :class:`~lightbus.manifest.model.Manifest`."""
