"""Right answers to the exercises in other styles than the reference solution's; every check must accept them."""
