"""Zero γ: the last batch norm of every residual block starts at γ = 0 (§3.1), so that blocks start as identities."""

zero_gamma = True
