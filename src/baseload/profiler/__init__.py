"""Floor 4: measure a real replica under load, fit its eight numbers, notice drift."""
