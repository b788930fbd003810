"""The declarative base of typed service clients."""
