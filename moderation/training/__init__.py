"""Everything that learns. Serving never imports this package, and only this package imports scikit-learn."""
