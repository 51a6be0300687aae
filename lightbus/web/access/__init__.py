"""Who may look at the console and what they may do there, and what is refused before any page is made."""
