"""Many APIs in one process on a cluster: connections, CPU at rest, latency, for each way to wait."""
