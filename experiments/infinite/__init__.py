"""Networks of infinite width, and what finite ones have to do with them."""
