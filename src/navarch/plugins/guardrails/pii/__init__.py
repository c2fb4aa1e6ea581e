"""Personal numbers, addresses and secrets: found by form, confirmed by parsing and check digits."""
