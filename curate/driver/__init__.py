"""A whole run: the plan, its execution, takedowns, jobs, the mirror, cleaning."""
