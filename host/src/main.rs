//! The `oplet` binary: parse, dispatch, exit code.
#![forbid(unsafe_code)]

mod cli;
mod config;

fn main() -> std::process::ExitCode {
    cli::main()
}
