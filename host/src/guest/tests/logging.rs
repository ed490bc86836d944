//! What a guest says, and where it goes.

use std::io;
use std::sync::Mutex;

use tracing_subscriber::fmt::MakeWriter;

use super::*;

const IMPORTS: &str = r#"
    (import "oplet" "log" (func $log (param i32 i32 i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))"#;

/// A log that takes its time with each line.
#[derive(Clone, Default)]
struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    delay: Duration,
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        std::thread::sleep(self.delay);
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What goes to the log while `run` runs.
fn logged(run: impl FnOnce()) -> String {
    slowly_logged(Duration::ZERO, run)
}

fn slowly_logged(delay: Duration, run: impl FnOnce()) -> String {
    let captured = Captured {
        delay,
        ..Captured::default()
    };
    let subscriber = tracing_subscriber::fmt()
        .with_writer(captured.clone())
        .with_ansi(false)
        .without_time()
        .with_max_level(tracing::Level::TRACE)
        .finish();
    tracing::subscriber::with_default(subscriber, run);
    captured.text()
}

#[test]
fn log_lines_are_limited_and_what_is_left_out_is_told() {
    let body = format!(
        r#"(data (i32.const 3000) "one\ntwo\1b") {}"#,
        handler(
            "handle",
            "(call $log (i32.const 2) (i32.const 3000) (i32.const 8)) (i32.const 0)",
        )
    );
    let text = logged(|| {
        let module = load(IMPORTS, &body);
        let mut instance = module.instantiate(&sinks(), None).unwrap();
        for _ in 0..10 {
            handle(&mut instance).unwrap();
        }
        assert!(module.log_lines_suppressed() >= 10);
    });
    assert!(
        text.contains(r#" WARN oplet::module: one module="test""#),
        "{text}"
    );
    assert!(text.contains("two\\u{1b} module"), "{text}");
    let written = text.matches("one module").count() + text.matches("two\\u{1b} module").count();
    // Five in a second; the loop may have met the turn of one.
    assert!((5..=10).contains(&written), "{text}");
    assert!(
        text.contains("log lines of the module were suppressed"),
        "{text}"
    );
    assert!(text.contains("lines="), "{text}");
}

#[test]
fn what_a_guest_prints_is_logged_by_the_line() {
    let body = format!(
        r#"(data (i32.const 3000) "\0c\0c\00\00\05\00\00\00") (data (i32.const 3084) "a\nb\nc") {}"#,
        handler(
            "handle",
            "(drop (call $fd_write (i32.const 1) (i32.const 3000) (i32.const 1) (i32.const 3200)))
             (i32.ne (i32.load (i32.const 3200)) (i32.const 5))",
        )
    );
    let text = logged(|| {
        let mut instance = instance(IMPORTS, &body);
        assert_eq!(handle(&mut instance), Ok(Outcome::Done));
    });
    assert!(text.contains(" INFO oplet::module: a module="), "{text}");
    assert!(text.contains(" INFO oplet::module: b module="), "{text}");
    assert!(!text.contains(": c module="), "{text}");
}

#[test]
fn a_slow_log_is_not_on_the_guests_time() {
    // Three lines take longer than the call may; the loop after each looks at the deadline.
    let line = "(call $log (i32.const 3) (i32.const 3000) (i32.const 4))
        (local.set $i (i32.const 0))
        (loop $l (br_if $l (i32.lt_u
            (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))";
    let body = format!(
        r#"(data (i32.const 3000) "slow") {}"#,
        handler(
            "handle",
            &format!("(local $i i32) {line} {line} {line} (i32.const 0)")
        )
    );
    let text = slowly_logged(Duration::from_millis(40), || {
        let mut instance = instance(IMPORTS, &body);
        assert_eq!(handle(&mut instance), Ok(Outcome::Done));
    });
    assert_eq!(text.matches("slow").count(), 3, "{text}");
}
