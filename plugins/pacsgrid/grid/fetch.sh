#!/bin/sh
# @about@
#
#     sh fetch.sh [-j CONNECTIONS] [DIRECTORY]
#
# Needs iRODS's iCommands, and a login (iinit) unless it says otherwise above. A series gets its place
# in DIRECTORY when every file of it has the checksum that the release lists. After an interruption
# of any kind run the same command again: it fetches what is missing.
#
# Exit status: 0 everything is here and right; 2 cannot start; 3 an object is damaged in every
# replica; 75 the zone does not answer, run it again later; 130 interrupted.
set -u
LC_ALL=C
export LC_ALL

release=@release@
project=${release%/releases/*}
connections=8
work=.fetch
main=$$

# The tickets of the documents and of each study or series, where this copy of the script has any.
tickets() {
    cat <<'END'
@tickets@
END
}

die() {
    echo "fetch.sh: $*" >&2
    exit 2
}

# Whether a process is there, and not only its entry that nobody has collected.
lives() { # PID
    kill -0 "$1" 2>/dev/null || return 1
    case $(ps -o stat= -p "$1" 2>/dev/null) in
        Z*) return 1 ;;
    esac
}

end_child() {
    [ -n "$child" ] || return 0
    kill "$child" 2>/dev/null
    wait "$child"
}

# iget in the background, so that a signal ends it together with the worker that waits for it.
get() {
    iget -K -f ${ticket:+-t "$ticket"} "$@" </dev/null >/dev/null 2>>"$work/errors" &
    child=$!
    wait "$child"
    got=$?
    child=
    return "$got"
}

# Write the files of each series to a file of its own, and share the series out among workers: a release
# may list some series of a study and not others.
plan() {
    rm -rf "$work/plan" && mkdir -p "$work/plan" && tickets >"$work/plan/tickets" &&
        awk -v plan="$work/plan" -v workers="$connections" '
        FILENAME ~ /tickets$/ { ticket[$2] = $1; next }
        # Nothing else becomes a path.
        !/^[0-9a-f]+  data\/[A-Za-z0-9][A-Za-z0-9._-]*\/[0-2][0-9.]*([.]v[0-9]+)?\/(results\/[A-Za-z0-9][A-Za-z0-9._-]*\/)?[0-2][0-9.]*\/[0-2][0-9.]*[.]dcm$/ {
            print "fetch.sh: SHA256SUMS: line " FNR " is not one of a release" > "/dev/stderr"
            failed = 1
            exit 1
        }
        {
            one = substr($0, index($0, "  ") + 2)
            sub(/\/[^\/]*$/, "", one)
            if (one != last && last != "") close(plan "/" number[last])
            if (!(one in number)) { number[one] = ++series; order[series] = one }
            last = one
            files[one]++
            all++
            print >> (plan "/" number[one])
        }
        END {
            if (failed) exit 1
            print series + 0, all + 0 > (plan "/total")
            # The next series goes to the worker with the fewest files.
            for (n = 1; n <= series; n++) {
                one = order[n]
                least = 1
                for (w = 2; w <= workers; w++) if (load[w] + 0 < load[least] + 0) least = w
                load[least] += files[one]
                # Its own ticket, or that of the study above it.
                for (above = one; above != "" && !(above in ticket); sub(/\/?[^\/]*$/, "", above));
                print n, files[one], one, ticket[above] > (plan "/worker." least)
            }
        }' "$work/plan/tickets" SHA256SUMS
}

# Whether every file of a series has its place. Files get it when they were checked.
is_here() { # NUMBER
    while read -r _ path; do
        [ -f "$path" ] || return 1
    done <"$work/plan/$1"
}

# List the files of a series that are not in the part folder with the right checksum.
wrong() { # NUMBER
    (cd "$part" && $sha256 -c "../plan/$1" 2>/dev/null) | awk -v sums="$work/plan/$1" '
        /: OK$/ { sub(/: OK$/, ""); ok[$0] = 1 }
        END {
            while ((getline line < sums) > 0) {
                path = substr(line, index(line, "  ") + 2)
                if (!(path in ok)) print path
            }
        }'
}

fetch_series() { # NUMBER SERIES
    # An interrupted run may have left some of it, or all.
    wrong "$1" >"$work/plan/$1.wrong"
    if [ -s "$work/plan/$1.wrong" ]; then
        mkdir -p "$part/${2%/*}" && get -r "$project/$2" "$part/${2%/*}"
        wrong "$1" >"$work/plan/$1.wrong"
    fi
    if [ -s "$work/plan/$1.wrong" ]; then
        ils ${ticket:+-t "$ticket"} "$project/$2" </dev/null >/dev/null 2>>"$work/errors" || return 75
        # The server's choice of replica was a bad one.
        while read -r path; do
            for replica in 0 1 2 3 4 5 6 7; do
                mkdir -p "$part/${path%/*}" && rm -f "$part/$path"
                get -n "$replica" "$project/$path" "$part/$path"
                grep -F "  $path" "$work/plan/$1" >"$work/plan/$1.one"
                [ -f "$part/$path" ] && [ -z "$(wrong "$1.one")" ] && break
                rm -f "$part/$path"
            done
        done <"$work/plan/$1.wrong"
        wrong "$1" >"$work/plan/$1.wrong"
        if [ -s "$work/plan/$1.wrong" ]; then
            cat "$work/plan/$1.wrong" >>"$work/bad"
            return 3
        fi
    fi
    lives "$main" || exit 1
    if [ -d "$2" ] || [ "$(find "$part/$2" -type f | wc -l)" -ne "$(wc -l <"$work/plan/$1")" ]; then
        # An earlier version of the release had less of it, or the grid has more than this one lists.
        while read -r _ path; do
            mkdir -p "${path%/*}" && mv -f "$part/$path" "$path" || return 75
        done <"$work/plan/$1"
        rm -rf "${part:?}/$2"
    else
        mkdir -p "${2%/*}" && mv "$part/$2" "$2" || return 75
    fi
}

worker() { # FILE
    child=
    trap 'end_child; exit 1' TERM
    trap '' INT HUP
    silent=0
    while read -r number files series ticket; do
        # Without the main process another run may have begun.
        lives "$main" || exit 1
        is_here "$number" || fetch_series "$number" "$series"
        case $? in
            0) echo "$files" >>"$work/done" && silent=0 ;;
            75) silent=$((silent + 1)) ;;
        esac
        [ "$silent" -lt 3 ] || exit 1
    done <"$1"
}

show() {
    awk -v total="$(cat "$work/plan/total")" '
        { files += $1 }
        END {
            split(total, all, " ")
            percent = all[2] ? int(100 * files / all[2]) : 100
            printf "%d of %d series, %d of %d files, %d %%\n", NR, all[1], files, all[2], percent
        }' "$work/done"
}

progress() {
    child=
    trap 'end_child; exit 0' TERM
    trap '' INT HUP
    while lives "$main"; do
        if [ -t 2 ]; then
            printf '\r%s ' "$(show)" >&2
            sleep 1 &
        else
            show >&2
            sleep 10 &
        fi
        child=$!
        wait "$child"
    done
}

# Called by a signal.
stop() {
    trap '' INT TERM HUP
    # shellcheck disable=SC2086
    kill $pids $shown 2>/dev/null
    wait
    rm -rf "$work/lock"
    echo "fetch.sh: interrupted; run it again to go on" >&2
    exit 130
}

lock() {
    if ! mkdir "$work/lock" 2>/dev/null; then
        other=$(cat "$work/lock/pid" 2>/dev/null)
        if [ -n "$other" ] && lives "$other"; then
            die "process $other fetches into this directory already; if it does not, remove $work/lock"
        fi
        rm -rf "$work/lock"
        mkdir "$work/lock" || die "cannot write in $PWD"
    fi
    echo "$main" >"$work/lock/pid"
}

# What an interrupted run left moves to a folder of this run, where nothing of that one writes.
adopt() {
    mkdir -p "$part/data" || die "cannot write in $PWD"
    for old in "$work"/part.*; do
        if [ "$old" = "$part" ] || [ ! -d "$old" ]; then continue; fi
        for left in "$old"/data/*/*; do
            subject=${left%/*}
            subject=${subject##*/}
            [ -d "$left" ] && mkdir -p "$part/data/$subject" &&
                [ ! -e "$part/data/$subject/${left##*/}" ] && mv "$left" "$part/data/$subject/"
        done
        rm -rf "$old"
    done
}

fetch() {
    directory=$(echo "${release#*/releases/}" | tr / -)
    while getopts j: option; do
        case $option in
            j) connections=$OPTARG ;;
            *) die "usage: sh fetch.sh [-j CONNECTIONS] [DIRECTORY]" ;;
        esac
    done
    shift $((OPTIND - 1))
    case $connections in
        '' | *[!0-9]* | 0*) die "-j: give a number of connections, such as 8" ;;
    esac
    command -v iget >/dev/null || die "there is no iget here; install iRODS's iCommands"
    sha256='sha256sum'
    command -v sha256sum >/dev/null || sha256='shasum -a 256'
    directory=${1:-$directory}
    mkdir -p "$directory/$work" || die "cannot write in $directory"
    cd "$directory" || die "cannot read $directory"
    part=$work/part.$main
    pids='' shown=''
    lock
    trap stop INT TERM HUP
    adopt
    : >"$work/done" && : >"$work/bad" && : >"$work/errors"
    ticket=$(tickets | awk '$2 == "." { print $1 }')
    version=$work/${release##*/}
    rm -rf "$version"
    if ! get -r "$release" "$work"; then
        cat "$work/errors" >&2
        rm -rf "$work/lock"
        die "cannot read $release; log in with iinit, or ask the steward for access"
    fi
    for document in "$version"/*; do
        mv -f "$document" .
    done
    plan || {
        rm -rf "$work/lock"
        exit 2
    }
    for share in "$work"/plan/worker.*; do
        [ -f "$share" ] || continue
        worker "$share" &
        pids="$pids $!"
    done
    progress &
    shown=$!
    # shellcheck disable=SC2086
    wait $pids
    kill "$shown" 2>/dev/null
    wait
    [ ! -t 2 ] || printf '\r' >&2
    show >&2
    rm -rf "$work/lock"
    if [ -s "$work/bad" ]; then
        sed 's/^/fetch.sh: no good replica: /' "$work/bad" >&2
        exit 3
    fi
    read -r series _ <"$work/plan/total"
    if [ "$(wc -l <"$work/done")" -ne "$series" ]; then
        tail -n 3 "$work/errors" >&2
        echo "fetch.sh: not complete; run it again" >&2
        exit 75
    fi
    rm -rf "$work"
    echo "complete: every file has the checksum of the release" >&2
}

# The last line, so that a script that was cut off does nothing.
fetch "$@"
