//! Memory, stack and tables; and where the host writes to.

use super::{Fate, Hostile, check, hostile, on_bad, traps_unless, traps_unless_zero, when_bad};

/// Grows by a megabyte until that fails, and writes to all of it.
const GROW: &str = "(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 16)))))
    (memory.fill (i32.const 0x40000) (i32.const 1)
        (i32.sub (i32.mul (memory.size) (i32.const 0x10000)) (i32.const 0x40000)))";

#[tokio::test]
async fn nobody_has_more_than_its_limits() {
    let too_much = Fate::FailsOnce("memory-limit", "more than the limit of 67108864");
    let recursion = Fate::FailsOnce("stack-overflow", "bytes of stack");
    let rows = [
        on_bad("grows", &format!("{GROW} (unreachable)"), too_much),
        // It lives with what it got, and so does everybody else.
        on_bad("grows_and_lives", GROW, Fate::Thwarted),
        on_bad(
            "grows_at_once",
            &traps_unless(-1, "(memory.grow (i32.const 0xF000))"),
            Fate::Thwarted,
        ),
        hostile(
            "grows_a_table",
            |module| {
                let grow = "(table.grow $t (ref.null func) (i32.const 0x1000))";
                module
                    .with("(table $t 1 funcref)")
                    .handle(&when_bad(&format!(
                        "(loop $l (br_if $l (i32.ne (i32.const -1) {grow})))
                        {}",
                        traps_unless_zero("(i32.gt_u (table.size $t) (i32.const 20000))")
                    )))
            },
            Fate::Thwarted,
        ),
        hostile(
            "recurses",
            |module| {
                module
                    .with("(func $deep (param i32) (result i32)
                        (i32.add (i32.const 1) (call $deep (i32.add (i32.const 1) (local.get 0)))))")
                    .handle(&when_bad("(drop (call $deep (i32.const 0)))"))
            },
            recursion,
        ),
        // The host's own functions run on what is left of the stack.
        hostile(
            "recurses_and_calls",
            |module| {
                module
                    .import("log", "(param i32 i32 i32)")
                    .with("(func $deep (param i32) (result i32)
                        (call $log (i32.const 1) (i32.const 4096) (i32.const 8192))
                        (drop (call $emit (i32.const 0) (i32.const 256) (i32.const 5)))
                        (i32.add (i32.const 1) (call $deep (i32.add (i32.const 1) (local.get 0)))))")
                    .handle(&when_bad("(drop (call $deep (i32.const 0)))"))
            },
            recursion,
        ),
    ];
    check("limits", &rows).await;
}

/// Where the host writes ops to is the module's say.
#[tokio::test]
async fn the_host_writes_nowhere_but_into_the_modules_memory() {
    let bad_return = |reason| Fate::FailsAlways("bad-return", reason);
    let alloc = |name, body: &'static str, fate| -> Hostile {
        hostile(name, move |module| module.alloc(body), fate)
    };
    let rows = [
        alloc(
            "far_outside",
            "(i32.const -8)",
            bad_return("outside its memory"),
        ),
        alloc(
            "half_outside",
            "(i32.const 0x3FFF8)",
            bad_return("outside its memory"),
        ),
        alloc(
            "not_aligned",
            "(i32.const 0x10004)",
            bad_return("not a multiple of 8"),
        ),
        alloc(
            "gives_nothing",
            "(i32.const 0)",
            Fate::FailsAlways("memory-limit", "too large for the module's memory limit"),
        ),
        alloc(
            "traps",
            "(unreachable)",
            Fate::FailsAlways("trap", "unreachable"),
        ),
        // Everything that it can have, each time that it is asked.
        alloc(
            "grows_each_time",
            "(drop (memory.grow (i32.const 512))) (i32.const 0x10000)",
            Fate::Thwarted,
        ),
        // Up to the last byte.
        alloc(
            "at_the_end",
            "(i32.and (i32.sub (i32.const 0x40000) (local.get $len)) (i32.const -8))",
            Fate::Thwarted,
        ),
        // Elsewhere each time, over what was there before, and over its own data.
        hostile(
            "elsewhere",
            |module| {
                module
                    .with("(global $next (mut i32) (i32.const 0x10000))")
                    .alloc("(global.set $next (i32.add (global.get $next) (i32.const 8))) (global.get $next)")
            },
            Fate::Thwarted,
        ),
        alloc("over_its_own_data", "(i32.const 8)", Fate::Whatever),
    ];
    check("regions", &rows).await;
}

/// The host looks at the memory as it is when it is called, not as it was.
#[tokio::test]
async fn memory_that_grows_between_calls_is_read_where_it_lies() {
    let rows = [
        // Emits from the page that it has just got, and then from before it.
        hostile(
            "grows_and_emits",
            |module| {
                let at = "(i32.shl (local.tee $page (memory.grow (i32.const 1))) (i32.const 16))";
                let len = super::named("grows_and_emits");
                module.handle(&format!(
                    "(local $page i32)
                    (i32.store (i32.const 265) (call $int (local.get $op) (i32.const 16)))
                    (memory.copy {at} (i32.const 256) (i32.const {len}))
                    {}
                    (i32.const 0)",
                    traps_unless_zero(&format!(
                        "(call $emit (i32.const 0) (i32.shl (local.get $page) (i32.const 16)) (i32.const {len}))"
                    )),
                ))
            },
            Fate::Thwarted,
        ),
        // What it has given out is behind the end of what was there before.
        hostile(
            "filters_with_more",
            |module| module.filter("(i32.ne (i32.const -1) (memory.grow (i32.const 1)))"),
            Fate::Thwarted,
        ),
    ];
    check("grown", &rows).await;
}
