"""Floor 1: what feeds the fleet. Baseline, storage, auxiliary, price signals, exact balance."""
