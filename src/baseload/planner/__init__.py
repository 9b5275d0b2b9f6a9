"""Floor 3: how much of what. Provisioning, storage, ride-through, fleet and token caps."""
