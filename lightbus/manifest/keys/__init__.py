"""Every key of the manifest: its shape, its scalars, the rules for both."""
