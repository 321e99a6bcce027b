"""The classification task: it trains a backbone by a recipe of tricks and exports it."""
