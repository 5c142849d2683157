"""Networks and how they are trained; no method of a paper yet."""
