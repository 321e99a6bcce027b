"""The baseline of §2.1: batch 256, step decay, and nothing else ("B-standard" of Tables 8 and 9)."""

tricks = []
