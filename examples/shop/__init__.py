"""Three services: the shop, which ``config/`` hosts, payments and mail."""
