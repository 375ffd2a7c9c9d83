"""A month of three made-up sites, for a look at the service without one's own comments."""

SEED = 1
"""What the demo's chance begins with, unless somebody wants another one."""
