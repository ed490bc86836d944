//! Waiting for a condition with a deadline, never for a duration.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout_at};

/// Pause between two looks: short against any deadline, long against a look.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks `condition` again and again until it holds.
///
/// # Errors
/// When it does not hold within `deadline`, also when one look hangs for that
/// long.
///
/// # Example
/// ```
/// # use std::time::Duration;
/// # async fn example(lines: tokio::sync::watch::Receiver<usize>) -> anyhow::Result<()> {
/// oplet_testkit::eventually(Duration::from_secs(5), async || *lines.borrow() == 3).await
/// # }
/// ```
pub async fn eventually(
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> Result<()> {
    let end = Instant::now() + deadline;
    while !matches!(timeout_at(end, condition()).await, Ok(true)) {
        if Instant::now() >= end {
            bail!("the condition did not come true within {deadline:?}");
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_as_soon_as_the_condition_holds() {
        let mut looks = 0;
        let looked = eventually(Duration::from_secs(5), async || {
            looks += 1;
            looks == 3
        });
        looked.await.unwrap();
        assert_eq!(looks, 3);
    }

    #[tokio::test]
    async fn gives_up_at_the_deadline_even_when_a_look_hangs() {
        assert!(
            eventually(Duration::from_millis(20), async || false)
                .await
                .is_err()
        );
        assert!(
            eventually(Duration::from_millis(20), std::future::pending)
                .await
                .is_err()
        );
    }
}
