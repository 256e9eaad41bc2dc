"""What becomes of a post. `reading`: what it says; `reception`: which event it is; `saving`: when it cannot be lost any more."""
