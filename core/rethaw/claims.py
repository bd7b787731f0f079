"""Who claims which namespace: entry points, known from metadata alone; nothing is imported."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from rethaw import __version__
from rethaw.api import RethawError

GROUP = "rethaw.plugins"
NAMESPACE = re.compile(r"\w+([.-]\w+)*")
"""What a plugin may be called."""


@dataclass(frozen=True)
class Claim:
    """One installed distribution's entry point: `namespace = module`, known from metadata alone."""

    namespace: str
    module: str
    distribution: str
    version: str
    requires: tuple[str, ...] = ()
    entry_point: EntryPoint | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (entry point {self.namespace} = {self.module})"


class PluginError(RethawError):
    """A plugin that cannot be used: not installed, blocked, claimed twice, too new, or broken."""


def scan() -> list[Claim]:
    """Reads the metadata of every installed distribution, passing over what cannot be read; imports nothing."""
    claims: dict[tuple[str, str], Claim] = {}  # of two copies of one distribution, Python imports the first
    for dist in distributions():
        try:
            found = [claim_of(dist, point) for point in dist.entry_points if point.group == GROUP]
        except Exception:
            continue
        for claim in found:
            claims.setdefault((canonicalize_name(claim.distribution), claim.namespace), claim)
    return list(claims.values())


def claim_of(dist: Distribution, point: EntryPoint) -> Claim:
    """One entry point of a distribution, whose METADATA may be missing."""
    known: Any = dist.metadata or {}
    name, version = known.get("Name") or "an unknown distribution", known.get("Version") or "of unknown version"
    return Claim(point.name, point.value, name, version, tuple(dist.requires or ()), point)


def check_requirement(claim: Claim) -> None:
    """Refuses a plugin that names no rethaw version, or another one than this, before it is imported."""
    try:
        found = [r for r in map(Requirement, claim.requires) if canonicalize_name(r.name) == "rethaw"]
        wanted = [requirement for requirement in found if applies(requirement)]
    except (InvalidRequirement, InvalidVersion, UndefinedComparison, UndefinedEnvironmentName) as error:
        reason = str(error).partition("\n")[0]
        raise failure(claim, f"its metadata holds a requirement that cannot be read: {reason}") from error
    if not wanted:
        hint = 'Its author adds dependencies = ["rethaw>=0.1,<0.2"] to its pyproject.toml.'
        raise failure(claim, "its distribution declares no requirement on rethaw", hint)
    for requirement in wanted:
        if not requirement.specifier.contains(__version__, prereleases=True):
            fits = f"a {claim.distribution} that fits rethaw {__version__}"
            hint = f"Run: pip install '{requirement}', or {fits}."
            raise failure(claim, f"it needs {requirement}, and this is rethaw {__version__}", hint)


def applies(requirement: Requirement) -> bool:
    """Whether a requirement holds in this environment, without any of its distribution's extras."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def failure(claim: Claim, what: str, hint: str = "") -> PluginError:
    """One message that says which plugin, what, how to look closer and how to keep it out."""
    named = NAMESPACE.fullmatch(claim.namespace)
    closer = f"RETHAW_BLOCK={claim.namespace if named else claim.distribution} keeps it out."
    if named:
        closer = f"rethaw plugins show {claim.namespace} says more; {closer}"
    return PluginError(f"plugin {claim} cannot be used: {what}", f"{hint}\n  {closer}" if hint else closer)
