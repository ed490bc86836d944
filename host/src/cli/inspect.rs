//! `oplet inspect`

use std::path::Path;

use oplet::{
    guest::{Inspection, Limits},
    sink::Stdout,
};

use super::{args::InspectArgs, error::UserError, modules};
use crate::config::module_name;

pub(super) fn inspect(args: &InspectArgs) -> Result<(), UserError> {
    let wasm = modules::read(&args.module)?;
    let inspection = Inspection::new(&wasm, &Limits::default());
    tell(&args.module, &inspection, args.json)
}

/// Prints what a module is; an error if it would be refused.
pub(super) fn tell(module: &Path, inspection: &Inspection, as_json: bool) -> Result<(), UserError> {
    let mut text = match as_json {
        true => serde_json::to_string(inspection)
            .map_err(|error| UserError::failed("cannot write the inspection").because(&error))?,
        false => describe(&module_name(module), inspection),
    };
    text.push('\n');
    Stdout.write(&text)?;
    let refused = UserError::refused("the module would be refused");
    match inspection.findings.as_slice() {
        [] => Ok(()),
        _ if as_json => Err(refused),
        findings => Err(refused.hints_of(findings)),
    }
}

fn describe(name: &str, inspection: &Inspection) -> String {
    let mut lines = vec![
        format!("module   {name}"),
        format!("size     {} bytes", inspection.size),
        format!("sha256   {}", inspection.sha256),
        match inspection.abi_version {
            Some(version) => format!("abi      {version}"),
            None => "abi      none".into(),
        },
    ];
    if let Some(memory_bytes) = inspection.memory_bytes {
        lines.push(format!("memory   {memory_bytes} bytes at the start"));
    }
    for item in &inspection.exports {
        lines.push(format!("export   {} {}", item.name, item.signature));
    }
    for item in &inspection.imports {
        let module = item.module.as_deref().unwrap_or_default();
        lines.push(format!(
            "import   {module}.{} {}",
            item.name, item.signature
        ));
    }
    lines.extend(
        inspection
            .findings
            .iter()
            .map(|finding| format!("refused  {finding}")),
    );
    lines.extend(
        inspection
            .warnings
            .iter()
            .map(|warning| format!("warning  {warning}; {}", warning.hint())),
    );
    if inspection.findings.is_empty() {
        lines.push("ok       the module can be run".into());
    }
    lines.join("\n")
}
