"""Data only: the versions of the filter `uplifting` and its sample. filterkit finds them without running this file."""
