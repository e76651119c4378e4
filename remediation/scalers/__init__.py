"""Who holds the replicas: one contract, one module for each system that can be asked to scale."""
