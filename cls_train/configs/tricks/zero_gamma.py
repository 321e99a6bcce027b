"""Zero γ: the last batch norm of every residual block starts at γ = 0 (§3.1), so blocks start as identities.

Source: 1812.01187 §3.1
Library: ours
Test: tests/backbones/test_initialisation.py
"""

zero_gamma = True
