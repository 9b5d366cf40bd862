"""Tools that every room uses: array types, settings, random numbers, processes, the machine, errors.

This room has no index: its files are imported one by one, so that a light one stays light.
"""
