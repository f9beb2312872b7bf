"""Motherlode's mining half: web crawls in, a domain corpus and its reports out."""
