"""What a study makes, in which order, and the one who makes it."""
