"""What stages run on: tasks and their keys, inline and Ray engines, fitted models, reused rows."""
