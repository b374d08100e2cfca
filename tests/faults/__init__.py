"""What must be survived, caused on real servers."""
