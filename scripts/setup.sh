# Sourced by the other scripts: makes .venv in the checkout when it is missing, installs arf into it, and activates it.
# PYTHON names another interpreter (3.10 or newer).
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
if [ ! -x .venv/bin/arf ]; then
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --allow-existing --python "${PYTHON:-python3}" .venv
        uv pip install --python .venv/bin/python -e '.[test]' -c constraints.txt
    else
        "${PYTHON:-python3}" -m venv .venv
        .venv/bin/python -m pip install --disable-pip-version-check -e '.[test]' -c constraints.txt
    fi
fi
. .venv/bin/activate
