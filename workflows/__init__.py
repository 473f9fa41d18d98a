"""Deterministic code only: the choreography of a replacement. Nothing here does I/O."""
