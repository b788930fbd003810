"""The version, as a constant: `import holdfast` must not search installed metadata for it."""

__version__ = "0.1.0"
