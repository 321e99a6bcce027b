"""How well the frozen features of a backbone classify: a linear probe and k-NN. No training imports this package."""
