"""Plugins that misbehave in every way we could think of: each is told once and clearly, and stops nothing else.

The plugins are real to importlib.metadata: folders with METADATA, entry points and a module, on the path of a process.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from rethaw import api, hookspecs
from rethaw.api import RethawError
from rethaw.cli.plugins import not_found
from rethaw.config import load_config, load_text
from rethaw.hookspecs import KINDS
from rethaw.plugins import Claim, PluginError, Plugins, Policy
from rethaw.registry import Registry, UnknownComponent, known_plugins
from tests.conftest import PLUGIN, Ran, Site, refused, run

HOOK = """
    from dataclasses import dataclass
    from rethaw.api import *

    @dataclass(frozen=True)
    class P:
        'None.'

    @hookimpl
    def rethaw_degradations():
"""
FINE = 'degradation("fade", P, target="x:y", summary="s")'
"""A spec that is in order, as source."""


def answering(spec: str, spoilt: str = "", by: str = "") -> str:
    """A light module whose hook answers with one spec, in which something may be replaced."""
    return (HOOK + f"        return [{spec}]").replace(spoilt or "\0", by)


UNPRINTABLE = """
class Unprintable(Exception):
    def __repr__(self): raise SystemExit("in repr")
    __str__ = __repr__
"""

IMPORT_TIME = {
    "raises": ("raise ZeroDivisionError('on purpose')", "importing it raised ZeroDivisionError: on purpose"),
    "exits": ("import sys; sys.exit(0)", "importing it raised SystemExit: 0"),
    "lacks": ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
    "garbled": ("def (", "importing it raised SyntaxError"),
    "hookraises": (HOOK + "        raise KeyError('inside')", "its hook rethaw_degradations raised KeyError: 'inside'"),
    "hookexits": (HOOK + "        raise SystemExit(3)", "its hook rethaw_degradations raised SystemExit: 3"),
    "nothing": (HOOK + "        return None", "returned a NoneType, not a list of specs"),
    "single": (HOOK + f"        return {FINE}", "returned a Spec, not a list of specs"),
    "words": (answering("'fade'"), "'fade' is a str, not a spec made with rethaw.api.degradation(…)"),
    "kindless": (answering(FINE, "[degradation(", "[sampler("), "'fade' is a sampler, not a degradation"),
    "twins": (answering(f"{FINE}, {FINE}"), "'fade' stands there twice"),
    "misnamed": (answering(FINE, "fade", "a.b"), "'a.b' is no name"),
    "numbered": (answering(FINE, '"fade"', "7"), "7 is no name"),
    "paramless": (answering(FINE, "P,", "dict,"), "the parameters of 'fade' are not a dataclass"),
    "targetless": (answering(FINE, "x:y", "nowhere"), "the target of 'fade' is 'nowhere'"),
    "reserved": (answering(FINE, "'None.'", "use: str = ''"), "the host's own keys"),
    "curious": (
        answering(FINE, "degradations():", "degradations(config):"),
        "registering it raised PluginValidationError",
    ),
    "interrupts": ("raise KeyboardInterrupt('by itself')", "importing it raised KeyboardInterrupt: by itself"),
    "baseless": ("raise BaseException('odd')", "importing it raised BaseException: odd"),
    "generator": ("raise GeneratorExit", "importing it raised GeneratorExit"),
    "stops": ("raise StopIteration", "importing it raised StopIteration"),
    "recurses": ("def f(): f()\nf()", "importing it raised RecursionError"),
    "unsayable": (UNPRINTABLE + "raise Unprintable", "Unprintable: an exception that cannot be printed"),
    "closes": ("import sys; sys.stdout.close()", "importing it closed standard output"),
    "closesboth": (
        "import sys; sys.stderr.close(); sys.stdout.close()",
        "importing it closed standard error and standard output",
    ),
    "closesdeep": ("import sys; sys.__stdout__.close()", "importing it closed standard output"),
    "closesfile": ("import os; os.close(1)", "importing it closed standard output"),
    "hookinterrupts": (
        HOOK + "        raise KeyboardInterrupt",
        "its hook rethaw_degradations raised KeyboardInterrupt",
    ),
    "hookcloses": (HOOK + "        import sys; sys.stdout.close(); return []", "closed standard output"),
    "reprless": (UNPRINTABLE + dedent(answering("Unprintable()")), "a Unprintable that cannot be printed> is a"),
    "endless": (
        HOOK + "        i = 0\n        while True:\n            i += 1\n            yield "
        'degradation(f"d{i}", P, target="x:y", summary="s")',
        "returned more than 10000 specs",
    ),
    "handmade": (
        answering('Spec("degradation", "fade", P, "x:y", "s")'),
        "was not made with rethaw.api.degradation(…)",
    ),
    "channelled": (answering(FINE, 'summary="s"', 'summary="s", channels="3"'), "channels of 'fade' is '3', not a"),
    "unlinear": (answering(FINE, 'summary="s"', 'summary="s", linear=1'), "linear of 'fade' is 1, not a bool"),
    "speechless": (answering(FINE, '"s"', "5"), "the summary of 'fade' is not a text"),
}
"""Plugins that cannot load, by namespace: the source of the module, and what must be told."""

METADATA = {
    "newer": ("rethaw>=99", "it needs rethaw>=99, and this is rethaw"),
    "older": ("rethaw<0.0.1", "it needs rethaw<0.0.1, and this is rethaw"),
    "undeclared": (None, "its distribution declares no requirement on rethaw"),
    "unreadable": ("?!", "its metadata holds a requirement that cannot be read"),
    "marked": ('rethaw>=99; python_version >= "3"', "it needs rethaw>=99"),
    "extraneous": ('rethaw>=0.1; extra == "x"', "its distribution declares no requirement on rethaw"),
    "elsewhere": ('rethaw>=0.1; python_version < "3"', "its distribution declares no requirement on rethaw"),
    "unmarked": ('rethaw>=0.1; python_version === "x y"', "a requirement"),
}
"""Plugins that are refused before they are imported, by namespace: Requires-Dist, and what must be told."""

ODD = {
    "docless": PLUGIN + "\n    Fade.__doc__ = 5\n",
    "unshown": UNPRINTABLE + dedent(PLUGIN).replace("floor: float = 0.0", "floor: float = Unprintable()"),
    "factory": PLUGIN.replace("import dataclass", "import dataclass, field").replace(
        "floor: float = 0.0", "floor: float = field(default_factory=lambda: 1 / 0)"
    ),
    "chatty": "import sys\nprint('CHAT', flush=True)\nsys.stdout.write('CHAT')\n"
    + dedent(PLUGIN).replace("    return", "    print('CHAT')\n    return"),
    "componentless": "",
    "redirects": "import io, sys\nsys.stdout = sys.stderr = io.StringIO()\n" + dedent(PLUGIN),
    "replaces": "import sys\nsys.stdout = None\n" + dedent(PLUGIN),
}
"""Plugins that load, and are odd in what they show or print."""

NAMELESS = ["", "a b", ".", ".x", "x.", "a,b"]
"""Entry points whose names can be no namespace."""

TOLD = {name: told for name, (_, told) in {**IMPORT_TIME, **METADATA}.items()}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """All of them installed at once, with a plugin that works, two that share a namespace, and a claimant of `core`."""
    site = Site(tmp_path_factory.mktemp("zoo"))
    for name, (source, _) in IMPORT_TIME.items():
        site.add(name, source)
    for name, (requires, _) in METADATA.items():
        site.add(name, "raise AssertionError('imported before its requirement was checked')", requires)
    site.add("fine")
    for name, source in ODD.items():
        site.add(name, source)
    site.add("extra", requires='rethaw>=0.1\nRequires-Dist: rethaw>=99; extra == "x"')
    for i, name in enumerate(NAMELESS):
        site.add(name, "raise AssertionError('imported')", distribution=f"rethaw-nameless{i}")
    site.add(
        "future",
        PLUGIN.replace("@hookimpl", "@hookimpl\n    def rethaw_observers():\n        return []\n\n    @hookimpl"),
    )
    site.add("shared", distribution="rethaw-first")
    site.add("shared", distribution="rethaw-second")
    site.add("core", "raise AssertionError('imported')", distribution="rethaw-usurper")
    (site.folder / "headless-1.0.dist-info").mkdir()
    (site.folder / "headless-1.0.dist-info" / "entry_points.txt").write_text("[rethaw.plugins]\nheadless = headless\n")
    return site


def pipeline(folder: Path, *items: str) -> Path:
    """A YAML with a list of degradations; the first stands in line 3."""
    path = folder / "pipeline.yaml"
    path.write_text("version: 1\ndegradation:\n" + "".join(f"  - {item}\n" for item in items), "utf-8")
    return path


@pytest.fixture(scope="module")
def using_all(zoo: Site, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One pipeline that uses every plugin that is broken."""
    return run("validate", pipeline(tmp_path_factory.mktemp("all"), *(f"{name}.fade" for name in TOLD)), env=zoo.env)


@pytest.mark.parametrize("name", TOLD)
def test_using_a_broken_plugin_is_one_clear_message(name: str, using_all: Ran) -> None:
    (message,) = (part for part in re.split(r"\S+\.yaml:", refused(using_all))[1:] if f"]: {name}.fade: " in part)
    assert TOLD[name] in message
    assert message.startswith(f"{3 + list(TOLD).index(name)}:5: degradation[")
    assert message.count(f"rethaw-{name} 1.0 (entry point {name} = rethaw_{name})") == 1
    assert f"rethaw plugins show {name} " in message and f"RETHAW_BLOCK={name} " in message


def test_everything_else_goes_on_beside_broken_plugins(zoo: Site) -> None:
    for words in (
        ["validate", "demo"],
        ["recipes"],
        ["schema"],
        ["plugins", "show", "core"],
        ["plugins", "show", "fine.fade"],
        ["plugins", "show", "docless.fade"],
        ["plugins", "show", "unshown.fade"],
        ["plugins", "show", "componentless"],
    ):
        result = run(*words, env=zoo.env)
        assert (result.returncode, result.stderr.replace("CHAT", "").strip()) == (0, ""), words
        assert result.stdout and "CHAT" not in result.stdout


def test_the_schema_has_every_component_that_can_be_described(zoo: Site) -> None:
    schema = json.loads(run("schema", env=zoo.env).stdout)
    found = {shape["title"] for shape in schema["$defs"]["degradation"]["anyOf"][1:]}
    assert found >= {f"{name}.fade" for name in ("fine", "extra", "factory", "chatty", "redirects", "replaces")}
    assert not {name for name in found if name.partition(".")[0] in TOLD}


def test_a_default_that_cannot_be_made_is_one_message(zoo: Site, tmp_path: Path) -> None:
    result = run("plugins", "show", "factory", env=zoo.env)
    assert result.returncode == 0 and "factory.fade" in result.stdout
    message = "describing the parameters of factory.fade raised ZeroDivisionError"
    assert message in result.stderr and "rethaw-factory 1.0" in result.stderr
    message = refused(run("validate", pipeline(tmp_path, "factory.fade"), env=zoo.env))
    assert "checking the parameters of factory.fade raised ZeroDivisionError" in message
    assert "pipeline.yaml:3:5: degradation: plugin rethaw-factory 1.0" in message


@pytest.mark.parametrize("name", ["fine", "extra", "docless", "chatty", "redirects", "replaces"])
def test_odd_plugins_are_used(name: str, zoo: Site, tmp_path: Path) -> None:
    result = run("validate", pipeline(tmp_path, f"{{use: {name}.fade, floor: 0.5}}"), env=zoo.env)
    assert result.returncode == 0 and f"is valid: {name}.fade" in result.stdout, result
    assert "CHAT" not in result.stdout


def test_ctrl_c_during_an_import_ends_the_command(site: Site) -> None:
    """A signal is the user's; a KeyboardInterrupt that a plugin raises itself is the plugin's."""
    site.add("slow", "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)")
    result = run("plugins", "list", env=site.env)
    assert result.returncode != 0 and "cannot be used" not in result.stdout + result.stderr


def test_plugins_list_tells_each_failure_once(zoo: Site) -> None:
    result = run("plugins", "list", env=zoo.env)
    assert (result.returncode, result.stderr.replace("CHAT", "").strip()) == (0, "")
    assert "Traceback" not in result.stdout
    for name, told in TOLD.items():
        assert result.stdout.count(f"rethaw-{name} 1.0 (entry point {name} = rethaw_{name})") == 1
        assert told in result.stdout
        assert f"RETHAW_BLOCK={name} " in result.stdout
    assert result.stdout.count("'shared' is claimed by 2 plugins") == 1
    assert "fine.fade" in result.stdout


def test_two_copies_of_one_distribution_are_one_plugin(tmp_path: Path) -> None:
    first, second = Site(tmp_path / "first"), Site(tmp_path / "second")
    first.add("fine", version="2.0")
    second.add("fine", "raise AssertionError('Python imports the first one')")
    both = os.pathsep.join((str(first.folder), second.env["PYTHONPATH"]))
    result = run("plugins", "list", env={"PYTHONPATH": both})
    assert result.stdout.count("rethaw-fine") == 1 and "fine.fade" in result.stdout


def test_plugins_list_as_json(zoo: Site) -> None:
    found = json.loads(run("plugins", "list", "--json", env=zoo.env).stdout)
    status = {(row["plugin"], row["distribution"]): row["status"] for row in found["plugins"]}
    assert {name for (name, _), word in status.items() if word == "broken"} == {*TOLD, *NAMELESS, "shared", "headless"}
    assert {status[name, f"rethaw-{name}"] for name in (*ODD, "fine", "extra")} == {"ok"}
    for row in found["plugins"]:
        if row["plugin"] in NAMELESS:
            assert f"the name of its entry point is {row['plugin']!r}" in row["told"]
            assert f"RETHAW_BLOCK={row['distribution']} keeps it out" in row["told"]
    assert status["fine", "rethaw-fine"] == status["core", "rethaw"] == "ok"
    assert status["core", "rethaw-usurper"] == "blocked"
    assert {row["name"] for row in found["components"]} >= {"fine.fade", "core.cold", "kornia.gaussian_blur"}


def test_a_hook_of_a_newer_rethaw_is_noted_and_the_rest_is_used(zoo: Site) -> None:
    found = json.loads(run("plugins", "list", "--json", env=zoo.env).stdout)
    (row,) = (row for row in found["plugins"] if row["plugin"] == "future")
    assert row["status"] == "ok" and "implements rethaw_observers, which rethaw" in row["told"]
    assert "future.fade" in {row["name"] for row in found["components"]}


def test_a_namespace_claimed_twice_has_no_silent_winner(zoo: Site, tmp_path: Path) -> None:
    path = str(pipeline(tmp_path, "shared.fade"))
    message = refused(run("validate", path, env=zoo.env))
    assert "'shared' is claimed by 2 plugins" in message
    assert "rethaw-first 1.0" in message and "rethaw-second 1.0" in message
    assert run("--block", "rethaw-first", "validate", path, env=zoo.env).returncode == 0


def test_core_cannot_be_taken(zoo: Site, tmp_path: Path) -> None:
    assert run("validate", str(pipeline(tmp_path, "mask")), env=zoo.env).returncode == 0
    assert "the namespace core is rethaw's own" in run("plugins", "list", env=zoo.env).stdout


def test_plugins_show_gives_the_traceback_of_a_broken_plugin(zoo: Site) -> None:
    result = run("plugins", "show", "raises", env=zoo.env)
    assert result.returncode == 2
    assert "Traceback" in result.stdout and "raise ZeroDivisionError('on purpose')" in result.stdout
    assert "Traceback" not in result.stderr and "rethaw-raises 1.0" in result.stderr


def test_metadata_that_cannot_be_read_is_passed_over(site: Site) -> None:
    site.add("fine")
    (site.folder / "mangled-1.0.dist-info").mkdir()
    (site.folder / "mangled-1.0.dist-info" / "entry_points.txt").write_text("[rethaw.plugins]\nno equals sign\n")
    result = run("plugins", "list", env=site.env)
    assert result.returncode == 0 and "fine.fade" in result.stdout


# --- parameters that misbehave -------------------------------------------------------------------------------------


def test_parameters_that_pydantic_cannot_check(site: Site, tmp_path: Path) -> None:
    site.add("odd", PLUGIN.replace("floor: float = 0.0", "floor: 'Nowhere' = 0.0"))
    assert "cannot be validated" in refused(run("validate", str(pipeline(tmp_path, "odd.fade")), env=site.env))
    schema = json.loads(run("schema", env=site.env).stdout)
    assert "odd.fade" not in json.dumps(schema) and "core.mask" in json.dumps(schema)


@pytest.mark.parametrize("error", ["TypeError", "ValueError", "AssertionError", "RethawError"])
def test_parameters_whose_own_check_raises(error: str, site: Site, tmp_path: Path) -> None:
    check = f"floor: float = 0.0\n        def __post_init__(self):\n            raise {error}('floor is odd')"
    site.add("odd", PLUGIN.replace("floor: float = 0.0", check))
    message = refused(run("validate", str(pipeline(tmp_path, "{use: odd.fade, floor: 0.5}")), env=site.env))
    assert "degradation" in message and "floor is odd" in message


# --- building: where the operators are imported -----------------------------------------------------------------


OPS = """
    class Fade:
        def __init__(self, params): pass
        def draw(self, like, generator): return {}
        def degrade(self, x0, u, state): return x0 * (1 - u.view(-1, 1, 1, 1))
"""
BUILD = {
    "good": (OPS, "None"),
    "gone": (None, "building gone.fade raised ModuleNotFoundError"),
    "empty": ("", "building empty.fade raised AttributeError"),
    "bursts": (
        "def Fade(params): raise RuntimeError('in build')",
        "building bursts.fade raised RuntimeError: in build",
    ),
    "quits": ("def Fade(params): raise SystemExit(1)", "building quits.fade raised SystemExit: 1"),
    "halts": ("def Fade(params): raise KeyboardInterrupt", "building halts.fade raised KeyboardInterrupt"),
    "haltsearly": ("raise KeyboardInterrupt", "building haltsearly.fade raised KeyboardInterrupt"),
    "leaves": ("raise SystemExit(0)", "building leaves.fade raised SystemExit: 0"),
    "garbles": ("def (", "building garbles.fade raised SyntaxError"),
    "shuts": ("import sys; sys.stdout.close()\n" + dedent(OPS), "building shuts.fade closed standard output"),
    "unsays": (UNPRINTABLE + "def Fade(params): raise Unprintable", "an exception that cannot be printed"),
    "lazy": (
        OPS.replace("def draw(", "draw = property(lambda self: 1 / 0)\n        def drew("),
        "building lazy.fade raised ZeroDivisionError",
    ),
    "partial": (OPS.replace("def draw", "def drew"), "partial.fade is a Fade without draw, not a degradation"),
    "speaks": (
        "from rethaw.api import RethawError\ndef Fade(params): raise RethawError('no weights here', 'Fetch them.')",
        "speaks.fade: no weights here",
    ),
}
BUILDER = """
    import sys
    from rethaw.registry import Registry
    registry = Registry()
    for name in sys.argv[1:]:
        full, spec = registry.find("degradation", name + ".fade")
        try:
            print(name, registry.build("degradation", full, spec.params()) and None)
        except Exception as error:
            print(name, type(error).__name__, repr(str(error)))
"""


@pytest.fixture
def builders(site: Site) -> Site:
    for name, (source, _) in BUILD.items():
        module = site.add(name)
        if source is not None:
            (site.folder / f"{module}_ops.py").write_text(dedent(source))
    return site


def test_what_goes_wrong_when_a_component_is_built(builders: Site) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", dedent(BUILDER), *BUILD], env=builders.env, text=True, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr
    lines = dict(line.split(" ", 1) for line in ran.stdout.splitlines())
    for name, (_, told) in BUILD.items():
        assert told in lines[name]
        if name not in ("good", "speaks"):
            assert lines[name].startswith("ComponentError") and f"rethaw-{name} 1.0" in lines[name]


def test_a_component_that_cannot_be_built_ends_a_command_with_one_message(builders: Site, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (16, 16)).save(tmp_path / "image.png")
    path = str(pipeline(tmp_path, "bursts.fade"))
    assert run("validate", path, env=builders.env).returncode == 0  # nothing is imported before it is needed
    message = refused(run("degrade", path, str(tmp_path / "image.png"), env=builders.env))
    assert "building bursts.fade raised RuntimeError: in build" in message


def test_the_target_of_a_component_is_imported_under_guard(site: Site) -> None:
    (site.folder / f"{site.add('halts')}_ops.py").write_text("raise KeyboardInterrupt")
    source = "from rethaw.registry import Registry\nRegistry().target('degradation', 'halts.fade')"
    ran = subprocess.run([sys.executable, "-c", source], env=site.env, text=True, capture_output=True)
    assert "PluginError: plugin rethaw-halts 1.0" in ran.stderr
    assert "importing halts.fade raised KeyboardInterrupt" in ran.stderr


NESTED = """
from dataclasses import dataclass, field
from rethaw.api import *

@dataclass(frozen=True)
class Inner:
    'A part.'
    size: {type} = {value}

@dataclass(frozen=True)
class P:
    'All.'
    inner: Inner = field(default_factory=Inner)

@hookimpl
def rethaw_degradations():
    return [degradation("fade", P, target="x:y", summary="s")]
"""


def test_parts_of_the_same_name_in_two_plugins_are_told_apart(site: Site) -> None:
    from jsonschema import Draft202012Validator

    site.add("first", NESTED.replace("{type}", "int").replace("{value}", "1"))
    site.add("second", NESTED.replace("{type}", "str").replace("{value}", "''"))
    validator = Draft202012Validator(json.loads(run("schema", env=site.env).stdout))
    for name, right, wrong in (("first", 5, "x"), ("second", "x", 5)):
        assert validator.is_valid({"degradation": {"use": f"{name}.fade", "inner": {"size": right}}})
        assert not validator.is_valid({"degradation": {"use": f"{name}.fade", "inner": {"size": wrong}}})


# --- policy -------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_block_keeps_a_plugin_out_by_every_way(tmp_path: Path) -> None:
    path = pipeline(tmp_path, "kornia.pixelate")
    for words, env in (
        (["--block", "kornia"], {}),
        (["--block", "rethaw_kornia"], {}),
        ([], {"RETHAW_BLOCK": "x, rethaw-kornia"}),
    ):
        message = refused(run(*words, "validate", str(path), env=env))
        assert "plugin 'kornia' of rethaw-kornia is not loaded: it is blocked" in message
    path.write_text(path.read_text() + "plugins: {block: [kornia]}\n")
    assert "it is blocked by plugins.block" in refused(run("validate", str(path)))


def test_a_blocked_plugin_is_not_imported(site: Site) -> None:
    site.add("loud", "print('I AM IMPORTED')")
    assert "I AM IMPORTED" in run("plugins", "list", env=site.env).stderr
    result = run("--block", "loud", "plugins", "list", env=site.env)
    assert "I AM IMPORTED" not in result.stderr and "blocked" in result.stdout


def test_naming_one_plugin_imports_no_other(site: Site) -> None:
    site.add("loud", "print('I AM IMPORTED')")
    result = run("validate", "demo", env=site.env)
    assert result.returncode == 0 and "I AM IMPORTED" not in result.stderr


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("{allow: []}", "plugins.allow lists only nothing"),
        ("{allow: [timm]}", "plugins.allow lists only timm"),
        ("{require: [rethaw-kornia>=99]}", "rethaw-kornia>=99 is required, 0.1"),
        ("{require: [rethaw-nowhere]}", "Run: pip install 'rethaw-nowhere'"),
        ("{require: ['?']}", "'?' is not a requirement"),
        ("{require: ['rethaw-kornia>=99; python_version >= \"3\"']}", "is required, 0.1"),
        ("{require: ['rethaw-x; nonsense > \"3\"']}", "is not a requirement"),
    ],
)
def test_allow_and_require(policy: str, told: str) -> None:
    with pytest.raises(RethawError) as caught:
        load_text(f"degradation: kornia.pixelate\nplugins: {policy}")
    assert told in str(caught.value)


def test_allow_and_require_that_are_met() -> None:
    config, _ = load_text(
        "degradation: kornia.pixelate\nplugins: {allow: [rethaw-kornia], require: [rethaw_kornia>=0.1]}"
    )
    assert config.degradation[0].use == "kornia.pixelate" and config.sampler.use == "core.cold"
    for unmet in ("rethaw-nowhere; python_version < '3'", "rethaw-kornia>=99; extra == 'x'"):
        load_text(f'degradation: kornia.pixelate\nplugins: {{require: ["{unmet}"]}}')


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("sampler", "core.colld", "Did you mean core.cold?"),
        ("sampler", "colld", "Did you mean core.cold?"),
        ("degradation", "kornia.gausian_blur", "Did you mean kornia.gaussian_blur"),
        ("degradation", "korna.gaussian_blur", "Did you mean kornia.gaussian_blur"),
        ("degradation", "gaussian_blur", "Did you mean kornia.gaussian_blur"),
        ("degradation", "core.cold", "core.cold is a sampler, not a degradation"),
        ("sampler", "kornia.pixelate", "kornia.pixelate is a degradation, not a sampler"),
        ("backbone", "kornia.zzzz", "kornia has no backbone at all"),
        ("degradation", "zzzz.zzzz", "no installed plugin is named 'zzzz'"),
        ("degradation", "", "core has: additive_noise, blend, chain, cumulative_mask, desaturate"),
    ],
)
def test_names_that_are_not_there(kind: str, name: str, told: str) -> None:
    with pytest.raises(UnknownComponent) as caught:
        Registry().find(kind, name)
    assert told in str(caught.value)


def test_a_known_plugin_that_is_not_installed_says_how_to_get_it() -> None:
    bare = Registry(Plugins(claims=[]))
    with pytest.raises(UnknownComponent) as caught:
        bare.find("degradation", "kornia.gaussian_blur")
    assert str(caught.value) == (
        "kornia.gaussian_blur is in rethaw-kornia, which is not installed\n  Run: pip install rethaw-kornia"
    )
    for misspelt in ("gaussian_blur", "kornia.gausian_blur"):
        with pytest.raises(UnknownComponent) as caught:
            bare.find("degradation", misspelt)
        assert "Did you mean" in str(caught.value)
        assert "kornia.gaussian_blur (pip install rethaw-kornia)" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("kornia", "kornia is in rethaw-kornia, which is not installed\n  Run: pip install rethaw-kornia"),
        (
            "kornia.gaussian_blur",
            "kornia.gaussian_blur is in rethaw-kornia, which is not installed\n  Run: pip install",
        ),
        ("timm.unet", "timm.unet is in rethaw-timm, which is not installed\n  Run: pip install rethaw-timm"),
        ("text.encoder", "text.encoder is in rethaw-text, which is not installed\n  Run: pip install rethaw-text"),
        ("kornia.gausian_blur", "Did you mean kornia.gaussian_blur (pip install rethaw-kornia)"),
        ("gaussian_blur", "Did you mean kornia.gaussian_blur (pip install rethaw-kornia)"),
        ("korna", "Did you mean kornia (pip install rethaw-kornia)?"),
        ("korna.pixelate", "Did you mean kornia.pixelate (pip install rethaw-kornia)"),
        ("colld", "Did you mean core.cold?"),
        ("core.colld", "Did you mean core.cold?"),
        ("z" * 9000, "rethaw plugins list shows what is installed."),
        ("", "no plugin and no component is named ''"),
    ],
)
def test_showing_what_is_not_installed_says_how_to_get_it(name: str, told: str) -> None:
    message = str(not_found(Registry(Plugins(claims=[])), name))
    assert told in message and len(message) < 400


def test_a_run_whose_plugin_is_absent_says_what_it_was_trained_with(tmp_path: Path) -> None:
    (tmp_path / "resolved.yaml").write_text("degradation: acme.fade\nmetrics: [core.psnr, acme.worst]\n")
    row = {"distribution": "acme-for-rethaw", "version": "1.2", "module": "acme"}
    (tmp_path / "lock.json").write_text(json.dumps({"plugins": {"acme": row, "core": {}}}))
    with pytest.raises(RethawError) as caught:
        load_config(str(tmp_path))
    assert "acme.fade is in acme-for-rethaw==1.2, which is not installed" in str(caught.value)
    assert "Run: pip install acme-for-rethaw==1.2" in str(caught.value)
    registry = Registry(Plugins(claims=[]), {"acme": "acme-for-rethaw==1.2"})
    with pytest.raises(UnknownComponent) as unknown:
        registry.find("degradation", "acme.fade")
    assert (unknown.value.name, unknown.value.requirement) == ("acme.fade", "acme-for-rethaw==1.2")


@pytest.mark.parametrize(
    "lock",
    ["", "[]", "{", '{"plugins": 5}', '{"plugins": {"acme": 5}}', '{"plugins": {"acme": {}}}', "\xff", "[" * 9999],
)
def test_a_lock_that_cannot_be_read_is_no_hindrance(lock: str, tmp_path: Path) -> None:
    (tmp_path / "resolved.yaml").write_text("degradation: core.mask\n")
    (tmp_path / "lock.json").write_bytes(lock.encode("latin-1"))
    assert load_config(str(tmp_path))[0].degradation[0].use == "core.mask"
    (tmp_path / "resolved.yaml").write_text("degradation: acme.fade\n")
    with pytest.raises(RethawError, match="no installed plugin is named 'acme'"):
        load_config(str(tmp_path))


def test_what_restoring_does_not_need_may_be_absent(tmp_path: Path) -> None:
    text = "degradation: core.mask\ndata: {use: acme.photos, path: x}\nmetrics: [core.psnr, acme.worst]\n"
    (tmp_path / "resolved.yaml").write_text(text)
    with pytest.raises(RethawError) as caught:
        load_config(str(tmp_path))
    assert "acme.photos" in str(caught.value) and "acme.worst" in str(caught.value)
    config, _ = load_config(str(tmp_path), optional=("data", "metrics"))
    assert config.data is None and [item.use for item in config.metrics] == ["core.psnr"]
    (tmp_path / "resolved.yaml").write_text(text + "sampler: acme.walk\n")
    with pytest.raises(RethawError, match=r"acme\.walk"):
        load_config(str(tmp_path), optional=("data", "metrics"))


def test_only_core_may_be_named_bare() -> None:
    registry = Registry()
    assert registry.find("sampler", "cold")[0] == "core.cold"
    with pytest.raises(UnknownComponent):
        registry.find("degradation", "pixelate")


def test_a_failure_is_the_same_one_every_time() -> None:
    plugins = Plugins(claims=[Claim("x", "no_such_module", "rethaw-x", "1", ("rethaw",))])
    caught = []
    for _ in range(2):
        with pytest.raises(PluginError) as one:
            plugins.load("x")
        caught.append(one.value)
    assert caught[0] is caught[1] is plugins.failures["x"]
    assert [plugin.claim.namespace for plugin in plugins.load_all()] == ["core"]


def test_policy_names_are_compared_as_pip_compares_them() -> None:
    claim = Claim("x", "m", "Rethaw_X.y", "1")
    assert Plugins(Policy(block=("rethaw-x-Y",))).blocked(claim)
    assert Plugins(Policy(allow=("rethaw.x.y",))).blocked(claim) is None


# --- tables that must agree -------------------------------------------------------------------------------------------


def test_the_index_of_known_plugins_says_what_they_register() -> None:
    registry = Registry()
    rows = dict(known_plugins())
    installed = {
        claim.distribution: name
        for name, claims in registry.plugins.claims.items()
        for claim in claims
        if name != "core"
    }
    first_party = {row: rows[row]["namespace"] for row in rows}
    assert {d: installed.get(d) for d in first_party} == first_party, "registry.yaml and the installed plugins differ"
    for distribution_name, row in rows.items():
        specs = registry.plugins.load(row["namespace"]).specs
        registered = {kind: sorted(n for k, n in specs if k == kind) for kind in {k for k, _ in specs}}
        assert {kind: sorted(names) for kind, names in row["names"].items()} == registered
        assert row["summary"] and set(row) == {"namespace", "summary", "names"}
        assert distribution(distribution_name).version


def test_the_index_is_in_the_checkout_where_the_wheel_takes_it_from() -> None:
    text = (Path(__file__).parents[1] / "registry.yaml").read_text("utf-8")
    assert yaml.safe_load(text) == known_plugins()


def hooks() -> Iterator[str]:
    return (name for name in vars(hookspecs) if name.startswith("rethaw_"))


def test_every_hook_is_a_kind_and_has_a_spec_helper_of_that_kind() -> None:
    assert sorted(hooks()) == sorted(kind.hook for kind in KINDS.values())
    for kind in KINDS.values():
        spec = getattr(api, kind.name)("name", dict, target="a:b", summary="s")
        assert spec.kind == kind.name and spec.name == "name"
        assert getattr(hookspecs, kind.hook).__doc__
        assert kind.name in api.__all__ and kind.name.capitalize() in api.__all__
