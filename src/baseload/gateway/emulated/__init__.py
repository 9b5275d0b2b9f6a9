"""Engines that are not there: the simulator's step engine in real time, behind vLLM's API."""
