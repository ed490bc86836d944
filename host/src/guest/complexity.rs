//! How hard functions are to compile.
//!
//! Compiling takes time in proportion to the code, but for one thing: a variable that is set inside
//! nested loops is looked at once for each of them. 12 KB with a thousand variables in three hundred
//! loops take longer than 10 MB of what compilers make. Compiling cannot be stopped half way, so this
//! is looked at before.

use wasmparser::{FunctionBody, Operator};

use super::findings::Finding;

/// Loops around each other times variables, for one function. Compilers of languages stay below a
/// few thousand.
const FUNCTION_MAX: u64 = 30_000;

/// What a function may have without counting.
const FREE: u64 = 1_000;

/// The sum over all functions of what is beyond that.
const MODULE_MAX: u64 = 300_000;

/// What was seen of a module's functions.
#[derive(Debug, Default)]
pub(super) struct Complexity {
    largest: u64,
    sum: u64,
}

impl Complexity {
    /// Looks at a function. What cannot be read is for the validator to tell.
    pub(super) fn look_at(&mut self, body: &FunctionBody<'_>) {
        let score = score(body).unwrap_or(0);
        self.largest = self.largest.max(score);
        self.sum = self.sum.saturating_add(score.saturating_sub(FREE));
    }

    /// What is wrong, if anything.
    pub(super) fn finding(&self) -> Option<Finding> {
        let (score, limit) = match () {
            () if self.largest > FUNCTION_MAX => (self.largest, FUNCTION_MAX),
            () if self.sum > MODULE_MAX => (self.sum, MODULE_MAX),
            () => return None,
        };
        Some(Finding::SlowToCompile { score, limit })
    }
}

fn score(body: &FunctionBody<'_>) -> wasmparser::Result<u64> {
    let mut variables = 0_u64;
    for locals in body.get_locals_reader()? {
        variables += u64::from(locals?.0);
    }
    // With few variables no depth that fits into a module is too much.
    let (mut open, mut depth, mut deepest) = (Vec::new(), 0_u64, 0);
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Loop { .. } => {
                open.push(true);
                depth += 1;
                deepest = deepest.max(depth);
            }
            Operator::Block { .. } | Operator::If { .. } => open.push(false),
            Operator::End => depth -= u64::from(open.pop() == Some(true)),
            _ => {}
        }
    }
    Ok(variables.saturating_mul(deepest))
}
