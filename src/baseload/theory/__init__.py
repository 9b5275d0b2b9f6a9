"""Floor 1: critical regime, diffusions, provisioning, control, scaling laws, estimation."""
