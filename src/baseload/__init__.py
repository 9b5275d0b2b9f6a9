"""Baseload."""
