#!/bin/sh
# Installs Tidewatch under PREFIX with a user and a systemd unit of its own. Run as root; may be run again.
set -eu

PREFIX=${PREFIX:-/opt/tidewatch}
SERIAL=${SERIAL:-/dev/ttyS0}
here=$(cd "$(dirname "$0")/.." && pwd)

if [ "$(id -u)" -ne 0 ]; then
    echo "install: run as root" >&2
    exit 1
fi

id tidewatch >/dev/null 2>&1 || useradd --system --home "$PREFIX" --groups dialout tidewatch
mkdir -p "$PREFIX" /var/lib/tidewatch
make -C "$here/native"
cp -r "$here/tidewatch" "$here/native" "$PREFIX/"
[ -f /etc/tidewatch.toml ] || cp "$here/tidewatch.toml" /etc/tidewatch.toml
chown tidewatch: /var/lib/tidewatch

# The gauge's line: 9600 baud, raw, no echo. The driver expects it set up.
[ ! -c "$SERIAL" ] || stty -F "$SERIAL" 9600 raw -echo

cat >/etc/systemd/system/tidewatch.service <<UNIT
[Unit]
Description=Tide gauge service
After=network.target time-sync.target

[Service]
User=tidewatch
WorkingDirectory=/var/lib/tidewatch
Environment=PYTHONPATH=$PREFIX
ExecStart=/usr/bin/python3 -m tidewatch --config /etc/tidewatch.toml run
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now tidewatch
