"""Jobs of a cluster: the artefacts of a study in a queue of Slurm, and what became of them there or anywhere."""
