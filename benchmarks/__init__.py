"""How fast this bus is, against a bare program that does the same over the same wire."""
