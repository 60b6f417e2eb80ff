"""Planted wrong answers, one module an assignment."""
