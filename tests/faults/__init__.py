"""Seeded faults: a world in virtual time that drives the gateway's state machine, and the laws that
must hold in it. ``python -m tests.faults --seeds 0:1000`` runs worlds, ``--seed 17 --trace``
replays one.
"""
