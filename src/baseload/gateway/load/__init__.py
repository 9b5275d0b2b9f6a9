"""The load of `baseload replay`: open loop, from a trace, with a table of latency and energy."""
