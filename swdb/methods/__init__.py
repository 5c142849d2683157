"""Methods of papers: a network, its losses and its prediction, and the training of one run."""
