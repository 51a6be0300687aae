"""The quickstart of the documentation, as it is at its end."""
