"""Page bytes to text with formulas as delimited LaTeX."""
