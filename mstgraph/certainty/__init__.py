"""How sure a number is that a finite set of samples, or a few seeds, gave."""
