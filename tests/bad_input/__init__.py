"""What lies in Redis and is not what it should be: pushed by hand, by other programs or by an attacker."""
