"""Quality and metrics (Q): a consumer of its own beside the clocks, with its own group, tables and pool. They share nothing."""
