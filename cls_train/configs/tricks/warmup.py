"""Warm-up: in batch i of the first m the learning rate is i · η / m (§3.1); m is `warmup_epochs` of batches."""

warmup = True
