"""The campaign: real processes, real kills, broken links, and a ledger that says what happened."""
