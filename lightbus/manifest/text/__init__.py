"""Text to located nodes: sources, YAML, variables, layers."""
