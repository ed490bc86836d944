# Keeps one server in a temporary folder: starts it, and when stdin ends, which the system sees to even
# when our parent is killed, kills it and removes the folder. "$@" is the server's command line without
# its data folder.

# Only the end of stdin ends us: a Ctrl-C is meant for our parent.
trap '' INT TERM HUP QUIT PIPE
cd /
dir=$(mktemp -d "${TMPDIR:-/tmp}/oplet-dev-XXXXXX") || exit 1
mkdir "$dir/data" && mkfifo "$dir/output" || exit 1
echo "dir $dir"

# The server alone holds the other end, so this ends when it does.
{ cat "$dir/output" >"$dir/log"; echo exited; } </dev/null 2>/dev/null &
( exec "$@" --dbpath "$dir/data" ) </dev/null >"$dir/output" 2>&1 &
pid=$!

cat >/dev/null
{ kill -s KILL "$pid" && wait "$pid"; } 2>/dev/null
wait
rm -rf "$dir"
