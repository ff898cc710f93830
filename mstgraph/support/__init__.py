"""What every room uses: errors, files, seeds, numerics, memory. Imports nothing of ours."""
