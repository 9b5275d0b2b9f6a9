"""Floor 5: one file a command; the only place that plugs things together."""
