"""Every key of the manifest: its form, its scalars, the rules for both."""
