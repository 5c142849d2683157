"""How image-level labels become proxy masks: seed cues, region growing, DSRG, and a report on their quality."""
