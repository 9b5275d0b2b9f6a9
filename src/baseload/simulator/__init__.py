"""Floor 3: a day in seconds. Jump engine, step-by-step oracle, Truth, checkers, results."""
