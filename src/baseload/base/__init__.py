"""Floor 0: units, errors and seeded random streams that every room may use."""
