"""Whom, by which channel; which words; when to try again, when to give up (T, S5). Pure."""
