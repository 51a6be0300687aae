"""The bus within one process, for tests."""
