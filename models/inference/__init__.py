"""A trained network applied to images of any size, exactly and in bounded memory."""
