"""What only the paper's claims need."""
