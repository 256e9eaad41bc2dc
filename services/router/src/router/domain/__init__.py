"""The rules: which category (C), which team and level (R), when a ticket rises and where to (E). Pure."""
