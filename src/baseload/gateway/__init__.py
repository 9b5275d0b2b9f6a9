"""Floor 4: the live service. An OpenAI-compatible endpoint in front of real engines.

A request's way: ``surface`` (HTTP in) -> ``bodies`` (what routing needs of it) -> ``core`` (one
state machine without I/O: admission, the pick, retries, its one end) -> ``driver`` (carries out the
machine's commands) -> ``upstream`` (an engine) -> ``answers`` (usage, energy) -> HTTP out.
"""
