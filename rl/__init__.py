"""Motherlode's training half: a corpus in, trained models and their numbers out."""
