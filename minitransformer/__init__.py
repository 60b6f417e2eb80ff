"""A tiny GPT written by hand, and the fine-tuning methods that the lessons build on it."""
