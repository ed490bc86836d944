//! What would run, in words, without secrets.

use oplet::{
    control::{OnError, Plan, WhenOpen},
    flow::OrderingGuarantee,
    op::SourceKind,
};
use serde_json::{Value, json};

use crate::config::{ModuleSettings, Origin, Row, Settings, SinkSettings};

fn source_words(settings: &Settings) -> &'static str {
    match settings.values.kind.value {
        SourceKind::Oplog => "oplog",
        SourceKind::ChangeStream => "change stream",
    }
}

fn workers(settings: &Settings) -> usize {
    match settings.values.ordering.value {
        OrderingGuarantee::Oplog => 1,
        _ => settings.values.workers.value,
    }
}

/// As one document for programs.
pub(super) fn as_json(settings: &Settings, plan: &Plan) -> Value {
    let rows = settings.values.rows().into_iter();
    let rows: serde_json::Map<_, _> = rows
        .map(|row| (row.key, json!({"value": row.value, "origin": row.origin})))
        .collect();
    let streams: Vec<Value> = plan
        .streams
        .iter()
        .map(|stream| {
            let namespaces = stream.scope.namespaces().iter().map(ToString::to_string);
            json!({
                "namespaces": namespaces.collect::<Vec<_>>(),
                "pipelineStages": stream.pipeline.len(),
                "modules": module_names(plan, &stream.modules),
            })
        })
        .collect();
    let modules: Vec<Value> = settings
        .modules
        .iter()
        .zip(&plan.modules)
        .map(|(settings, spec)| {
            let by_key = |rows: Vec<Row>| {
                let shown = |row: Row| {
                    let key = row.key.replace("module.", "");
                    (key, json!({"value": row.value, "origin": row.origin}))
                };
                rows.into_iter()
                    .map(shown)
                    .collect::<serde_json::Map<_, _>>()
            };
            json!({
                "name": settings.name.value,
                "path": settings.path.value.display().to_string(),
                "origin": settings.path.origin,
                "digest": spec.module.digest(),
                "configured": settings.config.keys().collect::<Vec<_>>(),
                "policy": by_key(settings.policy.rows()),
                "settings": by_key(settings.guest.rows()),
            })
        })
        .collect();
    let sinks: Vec<Value> = settings
        .sinks
        .iter()
        .map(|sink| {
            let options = sink.options.iter();
            let options: serde_json::Map<_, _> = options
                .map(|option| (option.key.clone(), option.shown().into()))
                .collect();
            json!({
                "name": sink.name.value,
                "url": sink.url.value.to_string(),
                "origin": sink.url.origin,
                "options": options,
            })
        })
        .collect();
    json!({
        "ok": true,
        "settings": rows,
        "streams": streams,
        "modules": modules,
        "sinks": sinks,
        "workers": workers(settings),
    })
}

fn module_names<'a>(plan: &'a Plan, modules: &[usize]) -> Vec<&'a str> {
    let name = |module: &usize| plan.modules[*module].module.name();
    modules.iter().map(name).collect()
}

/// As lines for people; with where each value came from, if that is asked for.
pub(super) fn as_text(settings: &Settings, plan: &Plan, with_origins: bool) -> String {
    let values = &settings.values;
    let mut lines = vec![
        format!("name          {}", values.name.value),
        match &values.config_uri.value {
            Some(config) => format!("source        oplogs of the shards listed at {config}"),
            None => format!(
                "source        {} of {}",
                source_words(settings),
                values.uri.value
            ),
        },
        format!("since         {}", values.since.value),
    ];
    if let Some(worker) = &values.worker.value {
        let file = values.workers_file.value.as_ref();
        let file = file.map(|path| path.display().to_string());
        let document = values.workers_from.value.as_ref();
        let list = file.or(document.map(ToString::to_string));
        let list = list.unwrap_or_default();
        lines.push(format!("worker        {worker}, of those in {list}"));
    }
    for stream in &plan.streams {
        let narrowed = match stream.pipeline.len() {
            0 => String::new(),
            stages => format!(", narrowed by {stages} pipeline stage(s)"),
        };
        let modules = module_names(plan, &stream.modules).join(", ");
        lines.push(format!(
            "stream        {}{narrowed}, for {modules}",
            stream.scope
        ));
    }
    for (module, spec) in settings.modules.iter().zip(&plan.modules) {
        lines.push(format!(
            "module        {} {} ({})",
            module.name.value,
            &spec.module.digest()[..12],
            policy_words(module)
        ));
        if let Some(grants) = spec.module.settings().grants() {
            lines.push(format!("granted       {}: {grants}", module.name.value));
        }
    }
    lines.extend(settings.sinks.iter().map(sink_words));
    lines.push(format!("checkpoint    {}", values.checkpoint.value));
    lines.push(format!("dead letters  {}", values.dead_letters.value));
    lines.push(match (&values.admin.value, &values.admin_token.value) {
        (None, _) => "admin         off".into(),
        (Some(address), None) => format!("admin         {address}"),
        (Some(address), Some(_)) => format!("admin         {address}, with a token"),
    });
    if with_origins {
        lines.push(String::new());
        lines.extend(origin_words(settings));
    }
    lines.join("\n")
}

fn policy_words(module: &ModuleSettings) -> String {
    let policy = module.policy.policy();
    let failed = match policy.on_error {
        OnError::Retry => format!(
            "on error {} attempts, then dead letter",
            policy.attempts_max
        ),
        OnError::DeadLetter => "on error dead letter".into(),
        OnError::Skip => return "on error skip".into(),
        OnError::Stop => return "on error stop".into(),
    };
    let breaker = match policy.breaker {
        WhenOpen::Pause => "pause",
        WhenOpen::DeadLetter => "dead letter",
    };
    match policy.breaker_failures {
        0 => failed,
        failures => format!("{failed}; after {failures} failures in a row {breaker}"),
    }
}

fn sink_words(sink: &SinkSettings) -> String {
    let options = sink.options.iter();
    let options: Vec<String> = options
        .map(|option| format!("{} = {}", option.key, option.shown()))
        .collect();
    let options = match options.is_empty() {
        true => String::new(),
        false => format!(" ({})", options.join(", ")),
    };
    let (name, url) = (&sink.name.value, &sink.url.value);
    format!("sink          {name}: {url}{options}")
}

/// Each value with where it came from.
fn origin_words(settings: &Settings) -> Vec<String> {
    let line = |key: &str, value: &Value, origin: &Origin| match value {
        Value::Null => format!("{key} is off ({origin})"),
        value => format!("{key} = {value} ({origin})"),
    };
    let rows = settings.values.rows();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| line(&row.key, &row.value, &row.origin))
        .collect();
    for module in &settings.modules {
        let name = &module.name.value;
        for row in [module.policy.rows(), module.guest.rows()].concat() {
            let key = row.key.replacen("module.", &format!("module {name}: "), 1);
            lines.push(line(&key, &row.value, &row.origin));
        }
    }
    lines
}
