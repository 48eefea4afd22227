"""Rules by class: what ``[class."receipt"]`` in config.toml says of the images of a class, and what holds for each.

Whatever is done differently for a class is asked for in one place, `ClassRules.handling_of`. A rule of ``animals``
holds for ``animals/dog``, too, in all that the rule of that class says nothing of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from daemon.config.values import as_share, as_words, check_layout, one_name, refuse_empty, refuse_windows
from daemon.files.layout import FLAT
from models.deciding.class_names import check_class_path, inner_folders_of
from models.errors import CheckpointError
from models.text.language import tr
from models.text.spelling import closest

#: What may be done with the images of a class: those of `Settings.action`, and "leave", which leaves them in the inbox.
ClassAction = Literal["move", "copy", "link", "tag", "leave"]


class ClassRule(BaseModel):
    """One table of config.toml; what it says nothing of is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    action: ClassAction | None = None
    output: Path | None = None
    layout: Annotated[str, Field(strict=True)] | None = None
    on_filed: list[str] | None = None

    @field_validator("threshold", mode="before")
    @classmethod
    def _share(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError(tr("it must be a number"))
        return as_share(value)

    @field_validator("output", mode="before")
    @classmethod
    def _folder(cls, value: object) -> object:
        return refuse_windows(refuse_empty(value))

    @field_validator("output")
    @classmethod
    def _resolved(cls, value: Path | None) -> Path | None:
        return None if value is None else one_name(value)

    @field_validator("layout")
    @classmethod
    def _layout(cls, value: str | None) -> str | None:
        return None if value is None else check_layout(value)

    @field_validator("on_filed", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return as_words(value)


@dataclass(frozen=True, kw_only=True)
class Handling:
    """What is done with an image: all that a rule of its class may say, and else what the settings say.

    ``threshold`` None: that of the checkpoint, as for other classes. ``output`` is the folder of the class folders.
    """

    output: Path
    action: ClassAction = "move"
    layout: str = FLAT
    threshold: float | None = None
    on_filed: tuple[str, ...] = ()

    def changed_by(self, rule: ClassRule) -> Handling:
        """Return this with what the rule of a class says."""
        said: dict[str, Any] = {
            key: value for key in ClassRule.model_fields if (value := getattr(rule, key)) is not None
        }
        if "on_filed" in said:
            said["on_filed"] = tuple(said["on_filed"])
        return replace(self, **said)


class UnknownClass(NamedTuple):
    """A rule whose class a model does not have, and the nearest of those that it has."""

    name: str
    nearest: str | None


class ClassRules:
    """The rules of all classes. ``usual`` is that of classes without one, and of images that go to no class folder."""

    def __init__(self, usual: Handling, rules: Mapping[str, ClassRule] | None = None) -> None:
        self.usual = usual
        self._rules = rules or {}
        self._known: dict[str, Handling] = {}

    def handling_of(self, label: str) -> Handling:
        """Return what is done with images of a class, or of those that are rolled up into an inner folder."""
        if not self._rules:
            return self.usual
        rule = self._known.get(label)
        if rule is None:
            rule = self.usual
            for name in (*inner_folders_of(label), label):
                if name in self._rules:
                    rule = rule.changed_by(self._rules[name])
            self._known[label] = rule
        return rule

    @property
    def names(self) -> tuple[str, ...]:
        """Classes that have a rule of their own."""
        return tuple(self._rules)

    @property
    def outputs(self) -> list[Path]:
        """The folders of class folders, each once: the usual one first."""
        own = [rule.output for rule in self._rules.values() if rule.output is not None]
        return list(dict.fromkeys([self.usual.output, *own]))

    @property
    def commands(self) -> list[tuple[str, ...]]:
        """The commands that run after filing, each once."""
        own = [tuple(rule.on_filed) for rule in self._rules.values() if rule.on_filed]
        return list(dict.fromkeys([*([self.usual.on_filed] if self.usual.on_filed else []), *own]))

    @property
    def moves(self) -> bool:
        """Whether images of any class are taken out of the inbox."""
        return "move" in (self.usual.action, *(rule.action for rule in self._rules.values()))

    @property
    def links(self) -> bool:
        """Whether images of any class are linked."""
        return "link" in (self.usual.action, *(rule.action for rule in self._rules.values()))

    @property
    def keeps_originals(self) -> bool:
        """Whether any images stay in the inbox after they were filed."""
        actions = {self.usual.action, *(rule.action for rule in self._rules.values())}
        return bool(actions - {None, "move"})

    def thresholds(self, labels: Iterable[str]) -> dict[str, float]:
        """Map those of the classes and inner folders that have a threshold by a rule to it."""
        found = {label: self.handling_of(label).threshold for label in labels} if self._rules else {}
        return {label: value for label, value in found.items() if value is not None}

    def moving(self) -> ClassRules:
        """Return these rules for images that are in an output already, or that a person has decided on: they move."""
        return self._with(action="move")

    def all_into(self, output: Path, action: ClassAction) -> ClassRules:
        """Return these rules for images that all go into one output, in one way."""
        return self._with(action=action, output=output)

    def _with(self, **same: Any) -> ClassRules:
        rules = {name: rule.model_copy(update=dict.fromkeys(same)) for name, rule in self._rules.items()}
        return ClassRules(replace(self.usual, **same), rules)

    def unknown(self, classes: Sequence[str]) -> list[UnknownClass]:
        """List the rules of classes that a model does not have, neither as a class nor as an inner folder."""
        known = {*classes, *(folder for name in classes for folder in inner_folders_of(name))}
        return [UnknownClass(name, closest(name, known)) for name in self._rules if name not in known]


def by_class(given: object) -> object:
    """Name the rules as classes are. Raises ValueError where two names are one."""
    if not isinstance(given, Mapping):
        return given
    rules: dict[str, object] = {}
    for key, rule in given.items():
        try:
            name = check_class_path(str(key))
        except CheckpointError as error:
            raise ValueError(str(error)) from error
        if name in rules:
            raise ValueError(tr("two rules are for one class, '{name}': keep one of them", name=name))
        rules[name] = rule
    return rules
