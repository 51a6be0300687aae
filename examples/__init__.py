"""Services that show how Lightbus is used."""
