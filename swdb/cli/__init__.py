"""The command line: the only folder that knows commands, options, terminals."""
