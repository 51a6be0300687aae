"""The manifest as text: what is in force, a reference, a schema for editors."""
