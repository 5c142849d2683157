"""From trained runs to scores and figures."""
