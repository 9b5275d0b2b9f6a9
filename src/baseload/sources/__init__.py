"""Floor 3: files and feeds. Trace readers and writers, profile files, carbon and price services."""
