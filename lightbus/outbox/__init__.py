"""Events that are written with the data, in one transaction, and fired once that has committed."""
