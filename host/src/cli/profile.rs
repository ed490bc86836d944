//! `oplet profile`: where a live module spends its time, through the run's admin API.

use std::time::Duration;

use anstream::eprintln;
use reqwest::Method;
use serde_json::Value;

use super::{
    error::UserError,
    remote::{self, Body, Request},
    remote_args::ProfileArgs,
    talk::Talk,
};

/// How much longer than the profile the answer may take: lanes come to the end of their op first.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// `oplet profile`
pub(super) async fn profile(args: ProfileArgs, talk: &Talk) -> Result<(), UserError> {
    let ProfileArgs {
        module,
        seconds,
        out,
        remote,
    } = args;
    let out = out.unwrap_or_else(|| format!("{}.profile.json", module.replace('/', "_")).into());
    let request = Request {
        method: Method::POST,
        path: &["modules", &module, "profile"],
        query: vec![("seconds", seconds.to_string())],
        body: Body::None,
        time_max: Some(Duration::from_secs(seconds) + ANSWER_TIME_MAX),
    };
    let profile = remote::ask(&remote, request, |answer| answer["threads"].is_array()).await?;
    std::fs::write(&out, profile.to_string()).map_err(|error| {
        UserError::failed(format!("cannot write {}", out.display())).because(&error)
    })?;
    if !talk.quiet {
        let samples = samples(&profile);
        eprintln!(
            "wrote {samples} samples to {}; https://profiler.firefox.com opens it",
            out.display()
        );
        if samples == 0 {
            eprintln!(
                "the module was hardly called meanwhile: a sample is taken every 5 ms of a call"
            );
        }
    }
    Ok(())
}

fn samples(profile: &Value) -> u64 {
    let threads = profile["threads"].as_array().into_iter().flatten();
    let samples = threads.filter_map(|thread| thread["samples"]["length"].as_u64());
    samples.sum()
}
