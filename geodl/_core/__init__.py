"""What all parts of geodl share, private to it."""
