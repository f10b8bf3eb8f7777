"""From a recipe to committed tables: plan, engine, exchange, workspace, snapshots, ledger."""
