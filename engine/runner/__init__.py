"""Additions to mmengine's Runner: hooks, seeding, several processes, precision."""
