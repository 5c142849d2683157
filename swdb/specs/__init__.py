"""What is to be run, as values: presets, tables, claims; read strictly from TOML. No data, no torch."""
