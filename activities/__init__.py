"""The steps of a replacement, one module for each thing acted on.

Every mutation observes, acts if needed, and observes again; it is fenced (activities/fencing.py), so that a
late attempt changes nothing.
"""
