"""The way to a Redis: settings, names, Sentinel; why there is none at times, and for how long."""
