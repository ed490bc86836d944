//! Stage 5.

mod ack_window;

pub use ack_window::{AckWindow, InFlight, Progress, WindowOptions};
