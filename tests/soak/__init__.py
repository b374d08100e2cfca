"""Random faults of every kind while messages flow: `make soak`. What the single tests may have left between them."""
