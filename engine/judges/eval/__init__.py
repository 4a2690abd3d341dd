"""How good a judge is: metrics with intervals on labeled texts, reports, and what was measured before."""
