"""The processes of a host: those that a supervisor keeps running, its watch over files, and signals."""
