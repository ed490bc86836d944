//! Modules with the behaviour that a test needs, written by hand.

use std::{fs, path::PathBuf};

use bson::doc;
use oplet_testkit::wat;
use tempfile::TempDir;

/// A module in a file of its own.
pub(super) struct Module {
    pub(super) path: PathBuf,
    _directory: TempDir,
}

/// A module that works on each op for so long, by the clock, and then emits it so many times.
pub(super) fn busy(milliseconds: u32, emits: usize) -> Module {
    let emit = "(drop (call $emit (i32.const 0) (local.get $ptr) (local.get $len)))";
    let text = format!(
        r#"(module
          (import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "clock_time_get"
            (func $clock (param i32 i64 i32) (result i32)))
          (memory (export "memory") 16)
          (func (export "oplet_abi_v1"))
          (func (export "oplet_alloc") (param i32) (result i32) (i32.const 1024))
          (func $now (result i64)
            (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8)))
            (i64.load (i32.const 8)))
          (func (export "handle") (param $ptr i32) (param $len i32) (result i32)
            (local $end i64)
            (local.set $end (i64.add (call $now) (i64.const {nanoseconds})))
            (loop $wait (br_if $wait (i64.lt_s (call $now) (local.get $end))))
            {emits}
            (i32.const 0)))"#,
        nanoseconds = u64::from(milliseconds) * 1_000_000,
        emits = emit.repeat(emits),
    );
    assemble(&text)
}

/// A module that asks for inserts only, and emits them.
pub(super) fn inserts_only() -> Module {
    let stage = doc! { "$match": { "operationType": "insert" } };
    let answer = doc! { "pipeline": [stage] }.to_vec().unwrap();
    let bytes: String = answer.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module
          (import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))
          (memory (export "memory") 16)
          (data (i32.const 16) "{bytes}")
          (func (export "oplet_abi_v1"))
          (func (export "oplet_alloc") (param i32) (result i32) (i32.const 1024))
          (func (export "pipeline") (param i32 i32) (result i64)
            (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const {len})))
          (func (export "handle") (param $ptr i32) (param $len i32) (result i32)
            (call $emit (i32.const 0) (local.get $ptr) (local.get $len))))"#,
        len = answer.len(),
    );
    assemble(&text)
}

fn assemble(text: &str) -> Module {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("module.wasm");
    fs::write(&path, wat(text).unwrap()).unwrap();
    Module {
        path,
        _directory: directory,
    }
}
