"""Who a client is and what it may do: access tokens, guests and the keys that verify them."""
