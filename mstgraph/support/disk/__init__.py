"""What is written to disk and read from it: whose folders, which form, who holds them."""
