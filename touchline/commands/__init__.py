"""The commands of `touchline`, each a dataclass of its flags whose `run` does it."""
