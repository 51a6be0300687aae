"""How cost grows: with APIs, listeners and processes, large messages and long backlogs."""
