"""What each page shows, made of one look at the bus."""
