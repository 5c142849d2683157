"""Bundles: all that the tables of a study hang on, in one file that anybody can check, rescore and merge. No torch."""
