# Sourced by the other scripts: makes .venv in the checkout, installs arf into it with the extras that `extras` names,
# and activates it. Installs again when pyproject.toml or constraints.txt have changed, or more extras are asked for.
# PYTHON names another interpreter (3.10 or newer).
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
extras=${extras:-}  # nothing, test, or all,test: each ends with the ones before it, which it holds
made_from=$(cat pyproject.toml constraints.txt | cksum)
case $(cat .venv/arf-installed 2>/dev/null) in
"$made_from "*"$extras") ;;
*)
    target=.${extras:+[$extras]}
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --allow-existing --python "${PYTHON:-python3}" .venv
        uv pip install --python .venv/bin/python -e "$target" -c constraints.txt
    else
        "${PYTHON:-python3}" -m venv .venv
        .venv/bin/python -m pip install --disable-pip-version-check -e "$target" -c constraints.txt
    fi
    echo "$made_from $extras" >.venv/arf-installed
    ;;
esac
. .venv/bin/activate
