"""The probe task: how well the frozen features of a backbone classify, by a linear probe and by k-NN."""
