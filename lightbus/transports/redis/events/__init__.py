"""Events over Redis."""
