"""The shop: six small services and a load generator, built to be measured, broken and healed."""
