"""Floor 1: what arrives. Requests, tiers, trace records, transforms, generators, length
forecasts.
"""
