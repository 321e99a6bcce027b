"""Cosine decay: η_t = ½ (1 + cos(t π / T)) η over the T batches after the warm-up (§5.1; Loshchilov, 1608.03983)."""

schedule = dict(_delete_=True, type="cosine")
