"""Early stopping: training ends when top-1 has not risen by 0.1 points over three validations (Prechelt, 1998).

The weights of the last epoch are exported, because choosing the best epoch on the test images would bias the score.

Source: Prechelt, 1998
Library: mmengine `EarlyStoppingHook`
Test: tests/cls_train/test_tricks.py
"""

early_stopping = dict(monitor="top1", rule="greater", min_delta=0.1, patience=3)
