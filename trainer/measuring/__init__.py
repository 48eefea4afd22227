"""Accuracy and calibration of classifiers, the certainty of both, and which of two classifiers is better."""
