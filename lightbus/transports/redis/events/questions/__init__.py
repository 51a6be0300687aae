"""Questions about the streams of a Redis: its groups, its past and coming events, its dead letters."""
