"""From scores to tables and claims, as text and as files. No torch."""
