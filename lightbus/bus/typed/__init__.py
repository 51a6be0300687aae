"""A bus with types: those in a module of ``lightbus types``, or those of an API's own class."""
