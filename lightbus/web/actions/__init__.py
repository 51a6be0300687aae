"""What may be done to the bus by the console: each action is a form, with what it needs and what it does."""
