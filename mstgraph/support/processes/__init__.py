"""Several processes that do one thing together: started, joined, and what they tell each other."""
