"""What several answers about one article come to: repeated ones of one oracle, or those of two and a referee."""
