"""The one error of this package."""


class DataError(ValueError):
    """A data set cannot be had or used: names the file or the field, and the reason."""
