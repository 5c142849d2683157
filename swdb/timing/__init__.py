"""How long the work takes: measured by a benchmark beside a plain loop, and forecast for what is left of a study."""
