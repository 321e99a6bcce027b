"""Large-batch training of §3.1 ("Efficient" of Table 3): batch 1024 with the four heuristics of Table 4.

Table 3 adds float16; here precision is an option of every task.
"""

tricks = ["large_batch", "linear_scaling", "warmup", "zero_gamma", "no_bias_decay"]
