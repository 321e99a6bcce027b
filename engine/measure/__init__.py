"""What is measured beside the scores: costs, and estimates of transferability."""
