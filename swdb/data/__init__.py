"""Data sets: their facts, how they are prepared, checked and decoded."""
