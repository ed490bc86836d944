//! How the handler stands, in one line that stays on the screen.

use std::{convert::Infallible, time::Duration};

use oplet::control::{Handle, ModuleStatus, RunState, ShownOps, Status};

use super::screen::Screen;
use crate::cli::status::clean;

/// How often the run is asked.
const EVERY: Duration = Duration::from_millis(250);

/// Shows how the run stands, for ever. Where there is no screen, the log tells it.
pub(super) async fn show(handle: &Handle) -> Infallible {
    let Some(mut screen) = Screen::open() else {
        return std::future::pending().await;
    };
    loop {
        // While a version takes over, or at the end, there may be no answer.
        if let Ok(status) = handle.status().await {
            screen.show(&line(&status));
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn line(status: &Status) -> String {
    let module = status.modules.first();
    module.map_or_else(String::new, |module| {
        describe(module, status.state, &status.ops)
    })
}

fn describe(module: &ModuleStatus, state: RunState, ops: &ShownOps) -> String {
    let mut line = format!(
        " {}  generation {}  {}  ops {}  handled {}  outputs {}  failed {}",
        clean(&module.name),
        module.generation,
        state.as_str(),
        ops.read,
        ops.handled,
        ops.emitted,
        ops.failed,
    );
    if let Some(error) = &module.last_error {
        line.push_str("  last: ");
        line.push_str(&clean(error));
    }
    line.push(' ');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_has_generation_ops_outputs_and_failures() {
        let mut module = ModuleStatus {
            name: "invoices".into(),
            digest: String::new(),
            generation: 3,
            versions: Vec::new(),
            grants: None,
            trial: None,
            on_error: "skip",
            failures_in_a_row: 0,
            breaker_open_since: None,
            last_error: None,
            waiting_for_retry: 0,
        };
        let ops = ShownOps {
            read: 12,
            kept: 9,
            handled: 8,
            emitted: 7,
            failed: 1,
            ..ShownOps::default()
        };
        let whole = " invoices  generation 3  streaming  ops 12  handled 8  outputs 7  failed 1";
        assert_eq!(
            describe(&module, RunState::Streaming, &ops),
            format!("{whole} ")
        );
        module.last_error = Some("a trap\n\u{1b}[2J at src/lib.rs:7".into());
        assert_eq!(
            describe(&module, RunState::Streaming, &ops),
            format!("{whole}  last: a trap  [2J at src/lib.rs:7 ")
        );
    }
}
