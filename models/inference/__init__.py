"""A trained network applied to images of any size, in bounded memory."""
