"""The difference between what a service declares and what its bus has: ``lightbus plan``."""
