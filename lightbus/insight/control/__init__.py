"""What may be done to the work of others, and what comes of it: pauses, runs by hand, groups that move."""
