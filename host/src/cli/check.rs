//! `oplet check`

use clap::ArgMatches;
use oplet::{
    control::{self, ModuleSpec, Plan},
    guest::Limits,
    op::Scope,
    sink::Stdout,
};
use serde_json::{Value, json};

use super::{
    args::{CheckArgs, CheckFormat},
    error::UserError,
    modules, plan,
    run::reading,
    settings,
    talk::Talk,
};
use crate::config::{Problem, Settings};

/// Looks at everything that can be looked at without a connection, and prints what would run.
pub(super) fn check(args: &CheckArgs, matches: &ArgMatches, talk: &Talk) -> Result<(), UserError> {
    let found = match settings::load(&args.settings, matches) {
        Ok(settings) => examine(&settings).map(|plan| (settings, plan)),
        Err(problems) => Err(problems.into_iter().map(Finding::from).collect()),
    };
    let is_json = args.format == CheckFormat::Json;
    match found {
        Ok((settings, plan)) if is_json => print(&plan::as_json(&settings, &plan).to_string())?,
        Ok((settings, plan)) => print(&plan::as_text(&settings, &plan, talk.verbose > 0))?,
        Err(findings) if is_json => {
            let problems: Vec<Value> = findings.iter().map(Finding::as_json).collect();
            print(&json!({"ok": false, "problems": problems}).to_string())?;
            return Err(UserError::all_found());
        }
        Err(findings) => {
            for Finding { error, .. } in findings {
                error.found().print();
            }
            return Err(UserError::all_found());
        }
    }
    Ok(())
}

fn print(text: &str) -> Result<(), UserError> {
    Ok(Stdout.write(&format!("{text}\n"))?)
}

/// Something that is wrong.
struct Finding {
    error: UserError,
    /// Where, in a file.
    place: Value,
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        let place = problem
            .place
            .as_ref()
            .map(|place| json!({"file": place.file, "line": place.line, "column": place.column}));
        Self {
            error: UserError::from(vec![problem]),
            place: place.unwrap_or_default(),
        }
    }
}

impl From<UserError> for Finding {
    fn from(error: UserError) -> Self {
        Self {
            error,
            place: Value::Null,
        }
    }
}

impl Finding {
    fn as_json(&self) -> Value {
        json!({"message": self.error.text(), "place": self.place, "hints": self.error.hints()})
    }
}

/// Loads the modules and asks each for its pipelines, in vain if another one is wrong: all that is
/// wrong is to be told at once.
fn examine(settings: &Settings) -> Result<Plan, Vec<Finding>> {
    let mut findings: Vec<Finding> = Vec::new();
    let values = &settings.values;
    findings.extend(settings::parse_uris(settings).err().map(Finding::from));
    findings.extend(
        settings::parse_config_uri(settings)
            .err()
            .map(Finding::from),
    );
    let readable = reading(values).check(values.kind.value);
    findings.extend(
        readable
            .err()
            .map(|error| Finding::from(UserError::from(error))),
    );
    findings.extend(settings::share(settings).err().map(Finding::from));
    let scope = Scope::new(values.watch.value.clone());
    let sinks = settings.sinks.iter().map(|sink| sink.spec.name.clone());
    let sinks = sinks.collect();
    let prepare = |specs: Vec<ModuleSpec>| {
        control::prepare(
            specs,
            &sinks,
            &scope,
            values.kind.value,
            values.ordering.value,
            values.ignore_pipeline.value,
        )
        .and_then(|plan| plan.with_direct_reads(&values.direct_read.value))
    };
    let mut sound = Vec::new();
    // Without a cache, since that would be written to.
    match modules::load(settings, None, &Limits::default(), 1) {
        Err(error) => findings.push(error.into()),
        Ok(specs) => {
            for spec in specs {
                let prepared = spec.and_then(|spec| match prepare(vec![spec.clone()]) {
                    Ok(_) => Ok(spec),
                    Err(error) => Err(settings::refused_plan(settings, error)),
                });
                match prepared {
                    Ok(spec) => sound.push(spec),
                    Err(error) => findings.push(error.into()),
                }
            }
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    prepare(sound).map_err(|error| vec![settings::refused_plan(settings, error).into()])
}
