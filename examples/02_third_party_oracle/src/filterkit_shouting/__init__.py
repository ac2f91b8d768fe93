"""An oracle for filterkit that counts exclamation marks."""
