"""Floor 1: what serves. Devices, models, engines, the eight numbers of a replica type, shipped
profiles.
"""
