"""The connections to a cluster: a pipe to each of its primaries, and who has which slot."""
