"""`filterkit serve`: trained students behind HTTP."""
