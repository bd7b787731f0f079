"""The components that need only torch. They register through the same hooks as everybody else's."""
