"""Floor 2: the one decision. Fleet state, estimates, prices, the pick; policies, one file each."""
