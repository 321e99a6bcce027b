"""The classification stage: it trains a backbone by a recipe of tricks and hands it off."""
