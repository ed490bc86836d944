# Keeps one server: starts it, signals it, and cleans up behind it when stdin
# ends, which the system sees to even when our parent is killed. "$@" is the
# server's command line without its data folder. Commands come on stdin, one
# word a line; each is answered by `ok` after its effect.

# Only the end of stdin ends us: a Ctrl-C is meant for our parent.
trap '' INT TERM HUP QUIT PIPE
cd /
dir=$(mktemp -d "${TMPDIR:-/tmp}/oplet-mongod-XXXXXX") || exit 1
mkdir "$dir/data" && mkfifo "$dir/output" || exit 1
echo "dir $dir"

pid=
kill_server() {
    [ -z "$pid" ] || { kill -s KILL "$pid" && wait "$pid"; } 2>/dev/null
    pid=
}

while read -r command; do
    case $command in
        start)
            echo starting
            # The server alone holds the other end, so this ends when it does.
            { cat "$dir/output" >>"$dir/log"; echo exited; } </dev/null 2>/dev/null &
            (
                trap - INT TERM HUP QUIT PIPE
                exec "$@" --dbpath "$dir/data"
            ) </dev/null >"$dir/output" 2>&1 &
            pid=$!
            echo "pid $pid"
            ;;
        KILL) kill_server ;;
        *) kill -s "$command" "$pid" ;;
    esac
    echo ok
done

kill_server
wait
rm -rf "$dir"
