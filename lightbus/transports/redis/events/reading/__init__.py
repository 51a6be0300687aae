"""Reading a consumer group: one reader for all streams, or one for each slot of a cluster."""
