"""What workflows and activities share, and what people touch: models, safety arithmetic, settings, CLI."""

__version__ = "0.1.0"
