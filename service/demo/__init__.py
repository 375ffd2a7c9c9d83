"""A month of three made-up sites, for a look at the service without one's own comments."""
