//! What belongs to the machine: files, sockets, the environment, clocks, the process.

use bson::doc;

use super::{Fate, Hostile, check, hostile, traps_unless, traps_unless_zero, when_bad};
use crate::modules::{bytes, data};

const EBADF: i32 = 8;
const EINVAL: i32 = 28;
const ENOSYS: i32 = 52;

/// A module that calls a function of WASI on the bad op, and traps unless it is answered so.
fn asks(
    name: &'static str,
    function: &str,
    signature: &str,
    arguments: &str,
    answer: i32,
) -> Hostile {
    let call = format!("(call ${function} {arguments})");
    hostile(
        name,
        |module| {
            module
                .wasi(function, &format!("(param {signature}) (result i32)"))
                .handle(&when_bad(&traps_unless(answer, &call)))
        },
        Fate::Thwarted,
    )
}

/// So many zeros, as arguments.
fn zeros(signature: &str) -> String {
    signature
        .split_whitespace()
        .map(|number| format!("({number}.const 0) "))
        .collect()
}

#[tokio::test]
async fn there_are_no_files_and_no_sockets() {
    let path_open = "i32 i32 i32 i32 i32 i64 i64 i32 i32";
    let mut rows = vec![
        // `/`, from each descriptor that another host might have opened there.
        asks(
            "opens",
            "path_open",
            path_open,
            "(i32.const 3) (i32.const 0) (i32.const 4096) (i32.const 1) (i32.const 0) (i64.const -1) (i64.const -1)
                (i32.const 0) (i32.const 4200)",
            EBADF,
        ),
        asks("looks_for_folders", "fd_prestat_get", "i32 i32", "(i32.const 3) (i32.const 4200)", EBADF),
        asks("reads_stdin", "fd_read", "i32 i32 i32 i32", &zeros("i32 i32 i32 i32"), EBADF),
        asks("closes_stdout", "fd_close", "i32", "(i32.const 1)", EBADF),
        asks(
            "writes_beyond",
            "fd_write",
            "i32 i32 i32 i32",
            "(i32.const 4) (i32.const 4096) (i32.const 1) (i32.const 4200)",
            EBADF,
        ),
        asks("signals", "proc_raise", "i32", "(i32.const 9)", ENOSYS),
    ];
    for (name, function, signature, answer) in [
        ("unlinks", "path_unlink_file", "i32 i32 i32", EBADF),
        (
            "makes_folders",
            "path_create_directory",
            "i32 i32 i32",
            EBADF,
        ),
        ("links", "path_symlink", "i32 i32 i32 i32 i32", EBADF),
        ("renames", "path_rename", "i32 i32 i32 i32 i32 i32", EBADF),
        ("lists", "fd_readdir", "i32 i32 i32 i64 i32", EBADF),
        ("renumbers", "fd_renumber", "i32 i32", EBADF),
        ("accepts", "sock_accept", "i32 i32 i32", ENOSYS),
        ("receives", "sock_recv", "i32 i32 i32 i32 i32 i32", ENOSYS),
        ("sends", "sock_send", "i32 i32 i32 i32 i32", ENOSYS),
        ("shuts_down", "sock_shutdown", "i32 i32", ENOSYS),
    ] {
        rows.push(asks(name, function, signature, &zeros(signature), answer));
    }
    check("files", &rows).await;
}

#[tokio::test]
async fn the_process_is_not_theirs() {
    let exits = |name, code: i32| {
        hostile(
            name,
            move |module| {
                let exit = format!("(call $proc_exit (i32.const {code}))");
                module
                    .wasi("proc_exit", "(param i32)")
                    .handle(&when_bad(&exit))
            },
            Fate::FailsOnce("exit", "`proc_exit` with code"),
        )
    };
    let sizes = |name, function: &'static str| {
        hostile(
            name,
            move |module| {
                let call = format!("(call ${function} (i32.const 4096) (i32.const 4104))");
                // Two numbers, both 0: how many there are, and how long they are together.
                let body = format!(
                    "(i64.store (i32.const 4096) (i64.const -1)) (i64.store (i32.const 4104) (i64.const -1)) {} {} {}",
                    traps_unless_zero(&call),
                    traps_unless_zero("(i32.load (i32.const 4096))"),
                    traps_unless_zero("(i32.load (i32.const 4104))"),
                );
                module
                    .wasi(function, "(param i32 i32) (result i32)")
                    .handle(&when_bad(&body))
            },
            Fate::Thwarted,
        )
    };
    let rows = [
        exits("exits", 0),
        exits("exits_badly", 255),
        // The process has one: how else would it have found its cache of modules?
        sizes("reads_the_environment", "environ_sizes_get"),
        sizes("reads_the_arguments", "args_sizes_get"),
        asks(
            "asks_for_a_clock",
            "clock_time_get",
            "i32 i64 i32",
            "(i32.const 99) (i64.const 0) (i32.const 4096)",
            EINVAL,
        ),
        asks(
            "drains_the_randomness",
            "random_get",
            "i32 i32",
            "(i32.const 0) (i32.const 0x100001)",
            EINVAL,
        ),
    ];
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| match row.name {
            // More than a megabyte of memory is needed to ask for more than that.
            "drains_the_randomness" => Hostile {
                module: row.module.memory(r#"(memory (export "memory") 32)"#),
                ..row
            },
            _ => row,
        })
        .collect();
    check("process", &rows).await;
}

/// What the run can read, a module cannot, unless it was granted.
#[tokio::test]
async fn there_is_no_database_behind_the_host() {
    let asks_for = |name, query: bson::Document, reason| {
        let query = bytes(&query);
        let place = format!(r#"(data (i32.const 4096) "{}")"#, data(&query));
        let call = format!(
            "(drop (call $lookup (i32.const 4096) (i32.const {})))",
            query.len()
        );
        hostile(
            name,
            |module| {
                module
                    .import("lookup", "(param i32 i32) (result i32)")
                    .with(&place)
                    .handle(&when_bad(&call))
            },
            Fate::FailsOnce("trap", reason),
        )
    };
    let rows = [
        asks_for(
            "looks_up",
            doc! {"namespace": "shop.customers"},
            "may not look up in shop.customers",
        ),
        asks_for(
            "looks_at_users",
            doc! {"namespace": "admin.system.users"},
            "may not look up in admin.system.users",
        ),
        asks_for(
            "forges",
            doc! {"namespace": "shop.\u{1b}[2J\nforged"},
            "may not look up",
        ),
        asks_for(
            "runs_code",
            doc! {"namespace": "shop.a", "filter": {"$where": "while(1);"}},
            "$where",
        ),
        asks_for(
            "commands",
            doc! {"namespace": "shop.$cmd", "filter": {"dropDatabase": 1}},
            "no `db.collection`",
        ),
        asks_for(
            "drowns",
            doc! {"namespace": "shop.a", "x".repeat(50_000): 1},
            "with the field",
        ),
    ];
    let contained = check("lookups", &rows).await;
    let longest = contained.ended.stderr.lines().map(str::len).max();
    assert!(longest < Some(32 << 10), "a line of {longest:?} bytes");
}
