"""The ports over Redis (6.2 and later) or Valkey."""
