"""What cannot change while a group of stages trains, and where it is kept."""
