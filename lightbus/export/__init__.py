"""Files for those who run a service, written from its manifest: for systemd, Docker, Kubernetes and KEDA."""
