"""What is made of a finished run: weights, tables, reports. Reads runs, never performs them."""
