"""What tests stand on: servers and processors of our own, shared by all layers."""
