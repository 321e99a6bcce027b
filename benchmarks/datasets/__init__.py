"""Data sets: the generated miniworld, and the reading and checking of the three layouts."""
