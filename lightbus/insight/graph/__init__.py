"""Who owns, calls and listens to which API: from manifests, from the bus, and how these differ."""
