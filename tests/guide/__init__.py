"""The manual: what Lightbus does, shown from the outside, one file for each feature."""
