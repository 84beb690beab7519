"""Where rows come from: table contracts, the Postgres snapshot, exports made by others. Never writes."""
