"""Sentences of the page: those that its scripts say, by their English, and those of its templates."""

from __future__ import annotations

from models.text.language import mark, tr

_TEMPLATES = (
    mark("Skip to the images"),
    mark("Views"),
    mark("This page needs JavaScript."),
    mark("Or enter the password."),
    mark("Enter"),
)
_VIEWS = (
    mark("Unsure"),
    mark("Classes"),
    mark("Quarantine"),
    mark("Audit"),
    mark("Model"),
    mark("Live"),
)
_KEYS = (
    mark("Keys"),
    mark("Space"),
    mark("Shift + arrow"),
    mark("Shift + Space"),
    mark("the class with this key"),
    mark("none of the classes"),
    mark("accept the proposed class; audit: right; quarantine: retry"),
    mark("audit: wrong, whatever the class is"),
    mark("back to the inbox, where it stays until it is released"),
    mark("undo the last decision"),
    mark("move"),
    mark("large image, and back to the grid"),
    mark("select a range"),
    mark("select or unselect"),
    mark("select all that are shown"),
    mark("select nothing, or back to the grid"),
    mark("find a class by its name, or name a new one"),
    mark("previous or next view"),
    mark("show or hide the keys"),
    mark("Close"),
)
_PICTURES = (
    mark("{count} images"),
    mark("{count} images selected"),
    mark("Previous image"),
    mark("Next image"),
    mark("Back to the grid"),
    mark("unknown"),
    mark("no class proposed"),
    mark("{name}, {share} sure"),
    mark("Larger"),
    mark("Smaller"),
    mark("Select all"),
    mark("Undo"),
    mark("Accept"),
    mark("Accept {name}"),
    mark("Find or name a class"),
    mark("New class {name}"),
    mark("None of these"),
)
_DECISIONS = (
    mark("{count} images accepted"),
    mark("{count} images: {name}"),
    mark("{count} images are none of the classes"),
    mark("{count} images go back to the inbox"),
    mark("{count} images are tried again"),
    mark("{count} images are right"),
    mark("{count} images are wrong"),
    mark("{count} decisions taken back"),
    mark("There is nothing to undo"),
    mark("There is nothing to accept here"),
    mark("Waiting: {count} decisions"),
    mark("The server does not answer."),
    mark("The model has learned from what you said: {before} → {after} right, of images that it never learned from."),
    mark("Dismiss"),
)
_UNSURE = (
    mark("{count} images alike"),
    mark("{count} images like no other"),
    mark("All {name}"),
    mark("Another class…"),
    mark("Show {count} more"),
    mark("Newest first"),
    mark("{count} images are still being looked at and grouped"),
    mark("Group anew"),
    mark("Nothing is left to review. New images that the model is not sure of will appear here."),
)
_OTHER_VIEWS = (
    mark("Order"),
    mark("Least sure first"),
    mark("Most unlike first"),
    mark("Comparing the images: {share}"),
    mark("No image lies here."),
    mark("What could not be read, and why"),
    mark("Try again"),
    mark("All"),
    mark("No image is in quarantine."),
    mark("Filed in the last hour, the newest first"),
    mark("Nothing was filed in the last hour."),
)
_AUDIT = (
    mark("How many of the images that were filed are wrong? Draw some at random and look."),
    mark("Images"),
    mark("Filed since"),
    mark("Draw"),
    mark("History"),
    mark("All audits"),
    mark("The share that is wrong, over time"),
    mark("promised"),
    mark("{count} of {filed} filed images"),
    mark("{answered} of {count} answered"),
    mark("Filed as {name}. Right?"),
    mark("Right"),
    mark("Right: {name}"),
    mark("Wrong"),
    mark("Nothing answered yet"),
    mark("{wrong} of {answered} wrong: {share}, with 95% certainty between {low} and {high}"),
    mark("This model promises nothing."),
    mark("Promised: at most {promised}."),
    mark("Promised: at most {promised}. The promise is broken."),
    mark("By class"),
    mark("Class"),
    mark("Filed"),
    mark("Answered"),
    mark("Share"),
    mark("Interval"),
)
_MODEL = (
    mark("Learn now"),
    mark("right, of images that it never learned from"),
    mark("before and after the last lesson"),
    mark("What it confuses"),
    mark("The classes that it confuses most"),
    mark("is ↓ · taken for →"),
    mark("{count}: is {actual}, taken for {predicted}"),
    mark("Is {actual}, taken for {predicted}"),
    mark("Labels that may be wrong"),
    mark(
        "Accept the advice, or give the label: the files stay where they lie, and the next lesson learns what you say."
    ),
    mark("labelled: {name}"),
    mark("labelled: none of the classes"),
    mark("{actual}, or {advised}?"),
    mark("Where it comes from"),
    mark("in use"),
    mark("Go back to this one"),
)
#: What the scripts say; of sentences that depend on a number only the plural, which other languages go by.
WORDS = (*_VIEWS, *_KEYS, *_PICTURES, *_DECISIONS, *_UNSURE, *_OTHER_VIEWS, *_AUDIT, *_MODEL)


def words() -> dict[str, str]:
    """Map the English sentences to those of the language in use."""
    return {word: tr(word) for word in WORDS}
