"""Floor 5: the command line. One file a command; the only room that plugs the others together."""
