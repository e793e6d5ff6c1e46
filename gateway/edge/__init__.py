"""Who is let in: origins, addresses, and how many connections of each."""
