#!/usr/bin/env bash
# Starts the miner with the settings of miner.env, for pm2 (scripts/ecosystem.config.js) and systemd
# (scripts/natix-miner.service).
#
#   scripts/start_miner.sh           checks what it needs, then becomes `natix-miner run`
#   scripts/start_miner.sh --check   checks only; exit code 0 when the miner could be started
#
# miner.env stands at the root of the checkout (begin with configs/miner.env.example); MINER_ENV_FILE
# names another. It is read as a list of names and values: nothing in it is ever run.
# Exit code 78: something is missing or wrong that a restart does not mend; standard error says what.
set -euo pipefail

refuse() {
    echo "start_miner.sh: $*" >&2
    exit 78
}

case "${1:-}" in
    "" | --check) ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) refuse "unknown option '$1'; --check or nothing (settings stand in miner.env)" ;;
esac

root="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)"
env_file="$(realpath -ms "${MINER_ENV_FILE:-$root/miner.env}")"
cd "$root"

miner="$root/.venv/bin/natix-miner"
[[ -x "$miner" ]] || refuse "$miner is missing; run: make setup"
[[ -f "$env_file" ]] ||
    refuse "$env_file is missing; run: cp $root/configs/miner.env.example $env_file, and edit it"

# What the miner itself would refuse, asked of its own code, so that both agree.
"$root/.venv/bin/python" - "$env_file" <<'PYTHON' || exit 78
import os
import sys
from pathlib import Path

from natix_miner.errors import NatixMinerError

#: Those whose defaults are hardly ever meant.
NEEDED = ("WALLET_NAME", "WALLET_HOTKEY", "MINER_AXON_PORT")
#: Names that operators bring along from elsewhere.
UNUSED = {
    "IMAGE_DETECTOR_DEVICE": "not used: `device` of each expert in the profile says where it runs"
}


def say(text):
    print(f"start_miner.sh: {text}", file=sys.stderr)


def check(file):
    from natix_miner.neuron.secret_files import SECRETS, SUFFIX, value_of
    from natix_miner.neuron.settings import OPTIONS, read_env_file, resolve_settings
    from natix_miner.neuron.wallet import open_wallet
    from natix_miner.profile import load_profile

    given = read_env_file(file)
    ours = {name for option in OPTIONS for name in option.variables} | set(SECRETS)
    ours |= {name + SUFFIX for name in ours}
    for name in sorted(given.keys() - ours):
        say(f"{name} in {file}: {UNUSED.get(name, 'not used: no setting has that name')}")
    for name in sorted(given.keys() & ours):
        if given[name] and os.environ.get(name, given[name]) != given[name]:
            say(f"{name} of the environment wins over that in {file}")
    missing = [n for n in NEEDED if not value_of(n, os.environ) and not value_of(n, given)]
    if missing:
        say(f"{', '.join(missing)} missing in {file}; configs/miner.env.example explains it")
        return 1
    settings = resolve_settings({}, os.environ, file)
    load_profile(settings.profile)
    open_wallet(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path)
    return 0


try:
    sys.exit(check(Path(sys.argv[1])))
except NatixMinerError as error:
    say(error)
    sys.exit(1)
PYTHON

[[ "${1:-}" != --check ]] || exit 0
exec "$miner" run --env-file "$env_file"
