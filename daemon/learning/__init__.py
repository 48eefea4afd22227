"""Lessons: the trainer fits the head in use again with what people said of images, beside the service."""
