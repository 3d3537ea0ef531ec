"""The local adapter: a processor's image in Docker on this machine. Import from its modules."""
