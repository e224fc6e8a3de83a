"""The light scheduler: when jobs are due (`times`), what they are (`commands`), running one and running them all."""
