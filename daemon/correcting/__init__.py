"""Notice what people move between class folders or put there by hand, and keep it as labels."""
