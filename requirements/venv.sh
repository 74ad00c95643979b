#!/bin/sh
# Makes .venv, and keeps it in step with the pins beside this script.
#
#   venv.sh NAME...   have .venv hold the pins of NAME.txt (servers, dev, docs, bench), and always those of servers.txt
#   venv.sh find      print the version and the path of the Python that a new .venv is made with
#
# PYTHON=... names that Python. Otherwise it is the newest one on PATH that runs.
#
# .venv/NAME.txt is a copy of the requirements/NAME.txt that was installed: it is compared by content, so that
# switching branches back and forth reinstalls nothing. .venv/unfinished is there while pip is changing files, so that a
# killed run is noticed by the next.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# ---- which Python ----------------------------------------------------------------------------------------------------

# Debian ships venv without ensurepip, which it needs.
probe='import sys
print(sys.version_info[0] * 100 + sys.version_info[1])
import ensurepip, venv'

dotted() { echo "$(($1 / 100)).$(($1 % 100))"; }

# Only asking tells: a version manager leaves shims on PATH for versions that are not there. Sets `number` (313 for
# 3.13) and `whole` (0 if it can make a .venv).
ask() {
    whole=0
    number=$("$1" -c "$probe" 2>/dev/null </dev/null) || whole=$?
    case $number in '' | *[!0-9]*) return 1 ;; esac
}

lacks_venv() { fail "Python $(dotted "$1") has no venv module: run \`apt-get install python$(dotted "$1")-venv\`"; }

find_python() {
    if [ -n "${PYTHON-}" ]; then
        ask "$PYTHON" || fail "PYTHON=$PYTHON does not run: give the name or the path of a Python 3.11 or newer"
        [ "$number" -ge 311 ] || fail "PYTHON=$PYTHON is Python $(dotted "$number"): 3.11 or newer is needed"
        [ "$whole" = 0 ] || lacks_venv "$number"
        echo "$(dotted "$number") $PYTHON"
        return
    fi
    best=0 broken=0 old=0
    set -f
    IFS=:
    for folder in $PATH; do
        [ ! "$folder" -ef .venv/bin ] || continue # activated, and about to go
        for program in python3.19 python3.18 python3.17 python3.16 python3.15 python3.14 python3.13 python3.12 \
            python3.11 python3 python; do
            [ -x "$folder/$program" ] && ask "$folder/$program" || continue
            if [ "$number" -lt 311 ]; then
                [ "$number" -le "$old" ] || old=$number
            elif [ "$whole" != 0 ]; then
                [ "$number" -le "$broken" ] || broken=$number
            elif [ "$number" -gt "$best" ]; then
                best=$number chosen=$folder/$program
            fi
        done
    done
    [ "$best" = 0 ] || { echo "$(dotted "$best") $chosen"; return; }
    [ "$broken" = 0 ] || lacks_venv "$broken"
    found=none
    [ "$old" = 0 ] || found=$(dotted "$old")
    fail "Python 3.11 or newer is needed and PATH has $found: install one, or name it with PYTHON=/path/to/python3"
}

[ "$1" != find ] || { find_python; exit; }

# ---- .venv -----------------------------------------------------------------------------------------------------------

same() { cmp -s "requirements/$1.txt" ".venv/$1.txt"; }
usable() { [ -x .venv/bin/python ] && [ ! -e .venv/unfinished ] && same servers; }
ready() { usable && for name; do same "$name" || return; done; }
stale() { for name; do [ ! -e ".venv/$name.txt" ] || same "$name" || return 0; done; return 1; }

# The advice for a failed command, out of what it wrote.
reason() {
    case $1 in
        *'No space left on device'* | *'Disk quota exceeded'*) echo 'the disk is full: free some space and try again' ;;
        *'connection broken by'*) echo 'pip cannot reach its index: check the network and try again' ;;
        *'DO NOT MATCH THE HASHES'*) echo 'a download is not the file that was pinned: check the index of pip' ;;
        *) printf '%s\n' "$1" | grep -v '^\[notice\]' | tail -n 1 ;;
    esac
}

ready "$@" && exit

# One at a time. The kernel drops the lock with the last process that holds it, so none is ever left behind. Where there
# is no flock, two makes at once are on their own.
if command -v flock >/dev/null; then
    exec 9<requirements/venv.sh
    flock -n 9 || { say 'waiting for another make to finish .venv ...'; flock 9; }
    ready "$@" && exit
fi

# Remade, not updated: what is no longer pinned must go too. Without a copy of servers.txt it counts as unfinished, so
# that copy goes first.
if ! usable || stale "$@"; then
    found=$(find_python)
    say "making .venv with Python ${found%% *} ..."
    rm -f .venv/servers.txt
    rm -rf .venv
    output=$("${found#* }" -m venv --without-pip .venv 2>&1) || fail "cannot make .venv: $(reason "$output")"
fi

for name in servers "$@"; do
    same "$name" && continue
    if grep -q == "requirements/$name.txt"; then # with nothing pinned, no pip and no network are needed
        say "installing requirements/$name.txt ..."
        : >.venv/unfinished
        # Not by venv, which hides why it failed.
        [ -e .venv/bin/pip ] || output=$(.venv/bin/python -m ensurepip --default-pip 2>&1) ||
            fail "cannot install pip: $(reason "$output")"
        output=$(.venv/bin/python -m pip --disable-pip-version-check install --require-hashes \
            -r "requirements/$name.txt" 2>&1) || {
            # Until it says this, pip has only downloaded.
            case $output in *'Installing collected packages'*) ;; *) rm .venv/unfinished ;; esac
            fail "cannot install requirements/$name.txt: $(reason "$output")"
        }
        rm .venv/unfinished
    fi
    cp "requirements/$name.txt" ".venv/$name.txt"
done
