"""Every call of every release of the official clients: `compat.py [--only pypi|npm] [--releases A,B] FOLDER SERVER_URL TOKEN`,
or `compat.py --install [--releases A,B] FOLDER`.

Installs what is missing of releases.json into FOLDER, one environment a release, and plays every_call with each of them against a
server that is already running, one after another. Prints a table for Python and one for JavaScript, releases by calls, then every
failure with its reason, then what is not served. Ends with 0 if nothing failed.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LONGEST_RUN = 900


def run(command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


def must(command, **options):
    done = run(command, **options)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


# --- What it takes to play one release -------------------------------------------------------------------------------------------


def python_of(folder):
    return folder / "bin" / "python"


def install_pypi(folder, version, extras):
    if python_of(folder).exists() and run([python_of(folder), "-c", "import svix.api"]).returncode == 0:
        return
    must([sys.executable, "-m", "venv", folder])
    must([python_of(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"svix=={version}", *extras])


def install_npm(folder, version, extras):
    if (folder / "node_modules" / "svix").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n')
    # A release that asks for another Node is tried all the same: the scenario says so if it cannot be loaded.
    flags = ["--no-audit", "--no-fund", "--engine-strict=false"]
    must(["npm", "install", *flags, f"svix@{version}", *extras], cwd=folder)


def command_pypi(folder):
    return [python_of(folder), "-W", "ignore", HERE / "every_call.py"]


def command_npm(folder):
    return ["node", HERE / "every_call.mjs", folder]


KINDS = {"pypi": (install_pypi, command_pypi), "npm": (install_npm, command_npm)}


def play(kind, folder, version, extras, server_url, token):
    """What the scenario says of each call."""
    install, command = KINDS[kind]
    install(folder, version, extras)
    try:
        done = run([*command(folder), server_url, token], timeout=LONGEST_RUN)
    except subprocess.TimeoutExpired:
        return [{"call": "the whole run", "ok": False, "why": f"not ended after {LONGEST_RUN} s"}]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode not in (0, 1) or not lines or (done.returncode == 1 and all(line.get("ok", True) for line in lines)):
        why = f"ended with {done.returncode}: {' '.join(done.stderr.split())[-600:]}"
        lines.append({"call": "the whole run", "ok": False, "why": why})
    return lines


# --- What is printed -------------------------------------------------------------------------------------------------------------


def cell(line):
    if line is None:
        return "-"
    if "skipped" in line:
        if line["skipped"].startswith("broken in this release"):
            return "broken"
        return "n/s"
    return "ok" if line["ok"] else "FAIL"


def print_table(kind, results):
    versions = list(results)
    calls = sorted({call for lines in results.values() for call in lines})
    left, width = max(map(len, calls)), max(6, *map(len, versions))
    print(f"\n{kind.ljust(left)}  {'  '.join(version.ljust(width) for version in versions)}".rstrip())
    for call in calls:
        cells = [cell(results[version].get(call)).ljust(width) for version in versions]
        print(f"{call.ljust(left)}  {'  '.join(cells)}".rstrip())


def without_names(text):
    """A reason without what is different in every run, so that releases with the same reason stand together."""
    text = re.sub(r"(?:py|js)-[\d.]+-[0-9a-f]{6}", "…", text)
    return re.sub(r"\b(msg|ep|app|atmpt|qtask)_[0-9A-Za-z]{20,}", r"\1_…", text)


def print_reasons(title, results, field):
    """Each reason once, with the calls and the releases it is about."""
    found = {}
    for version, lines in results.items():
        for call, line in lines.items():
            for why in line.get(field, "").split(" | ") if line.get(field) else []:
                found.setdefault(call, {}).setdefault(without_names(why), []).append(version)
    if found:
        print(f"\n{title}")
    for call in sorted(found):
        print(f"  {call}")
        for why, versions in found[call].items():
            print(f"    {', '.join(versions)}: {why}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--releases", help="some of them, separated by commas")
    parser.add_argument("--install", action="store_true", help="only install what is missing")
    parser.add_argument("folder", type=Path)
    parser.add_argument("server_url", nargs="?")
    parser.add_argument("token", nargs="?")
    chosen = parser.parse_args()
    releases = json.loads((HERE / "releases.json").read_text())
    wanted = chosen.releases and chosen.releases.split(",")
    everything = {}
    for kind in [chosen.only] if chosen.only else KINDS:
        everything[kind] = {}
        for release in releases[kind]:
            version = release["version"]
            if wanted and version not in wanted:
                continue
            folder = chosen.folder.resolve() / kind / version
            if chosen.install:
                KINDS[kind][0](folder, version, release["with"])
                continue
            lines = play(kind, folder, version, release["with"], chosen.server_url, chosen.token)
            everything[kind][version] = {line["call"]: line for line in lines}
            failed = sum(line.get("ok") is False for line in lines)
            print(f"{kind} {version}: {len(lines)} calls, {failed} failed", file=sys.stderr)
    for kind, results in everything.items():
        if results:
            print_table(kind, results)
    for kind, results in everything.items():
        print_reasons(f"{kind}: failed", results, "why")
    for kind, results in everything.items():
        print_reasons(f"{kind}: not served", results, "skipped")
    lines = [line for results in everything.values() for found in results.values() for line in found.values()]
    return 1 if any(line.get("ok") is False for line in lines) else 0


sys.exit(main())
