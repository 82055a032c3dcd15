#!/usr/bin/env bash
# Puts pm2 and pm2-logrotate into .pm2/ of the checkout; nothing global, nothing into your home.
# Needs Node 18 or later with npm. Afterwards: .pm2/node_modules/.bin/pm2 (docs/pm2.md).
set -euo pipefail
cd "$(dirname "$0")/.."

PM2=7.0.4
LOGROTATE=3.0.0

case "${1:-}" in
    "") ;;
    -h | --help) sed -n '2,3s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "install_pm2.sh: unknown option '$1'; it takes none" >&2; exit 2 ;;
esac
command -v npm >/dev/null ||
    { echo "install_pm2.sh: npm is missing; install Node 18 or later" >&2; exit 1; }

wanted="$PM2 $LOGROTATE $(cksum <"$0")"
if [[ -f .pm2/.complete && "$(<.pm2/.complete)" == "$wanted" ]]; then
    echo ".pm2 is complete"
    exit 0
fi
rm -rf .pm2/node_modules .pm2/package-lock.json .pm2/.complete
mkdir -p .pm2
# pm2-logrotate asks for the latest pm2; it must get the same one.
cat >.pm2/package.json <<JSON
{
  "private": true,
  "dependencies": { "pm2": "$PM2", "pm2-logrotate": "$LOGROTATE" },
  "overrides": { "pm2": "\$pm2" }
}
JSON
npm install --prefix .pm2 --no-audit --no-fund --no-progress --loglevel=error
test "$(node -p 'require("./.pm2/node_modules/pm2/package.json").version')" = "$PM2"
echo "$wanted" >.pm2/.complete
echo "pm2 $PM2: .pm2/node_modules/.bin/pm2"
