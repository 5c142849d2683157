"""From scores by seed to verdicts on the paper's claims: spread, contrasts, the rule for all claims together."""
