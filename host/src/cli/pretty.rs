//! One change as one short coloured line.

use anstyle::{AnsiColor, Style};
use bson::{Bson, Document, RawDocument};

/// How much of a document, or of an id, is shown, in characters.
const DOCUMENT_CHARS: usize = 100;

/// Appends an op document as a line for people, without the line's end: time, what happened, where,
/// to which document, and the beginning of what it is or what changed.
pub(super) fn write(op: &[u8], out: &mut String) -> Result<(), bson::error::Error> {
    let op = Document::try_from(RawDocument::from_bytes(op)?)?;
    let (word, color) = match (
        op.get_str("operation").unwrap_or_default(),
        op.contains_key("replace"),
    ) {
        ("i", _) => ("insert ", AnsiColor::Green),
        ("u", true) => ("replace", AnsiColor::Yellow),
        ("u", false) => ("update ", AnsiColor::Yellow),
        ("d", _) => ("delete ", AnsiColor::Red),
        _ => ("command", AnsiColor::Magenta),
    };
    let bold = styled(Style::new().bold().fg_color(Some(color.into())));
    let dim = styled(Style::new().dimmed());
    let time = op
        .get_datetime("wallTime")
        .ok()
        .map(|time| time.try_to_rfc3339_string());
    let time = match (time, op.get_timestamp("timestamp")) {
        (Some(Ok(time)), _) => time.get(11..19).unwrap_or_default().to_owned(),
        (_, Ok(timestamp)) => timestamp.time.to_string(),
        _ => String::new(),
    };
    let namespace = op.get_str("namespace").unwrap_or_default();
    out.push_str(&format!(
        "{}{time}{} {}{word}{} {namespace}",
        dim.0, dim.1, bold.0, bold.1
    ));
    if let Some(id) = op.get("_id") {
        out.push_str(&format!(" {}", short(id)));
    }
    if let Some(document) = op.get("updateDescription").or_else(|| op.get("data")) {
        out.push_str(&format!(" {}{}{}", dim.0, shortened(document), dim.1));
    }
    Ok(())
}

/// What switches a style on and off, if standard output is to be coloured.
fn styled(style: Style) -> (String, String) {
    match anstream::AutoStream::choice(&std::io::stdout()) {
        anstream::ColorChoice::Never => (String::new(), String::new()),
        _ => (style.render().to_string(), style.render_reset().to_string()),
    }
}

/// An id as people write it.
fn short(id: &Bson) -> String {
    match id {
        Bson::ObjectId(id) => id.to_hex(),
        other => cut(other.clone().into_relaxed_extjson().to_string()),
    }
}

fn shortened(document: &Bson) -> String {
    let text = match document {
        Bson::Document(document) => {
            let interesting = document.iter().filter(|(_, value)| !is_empty(value));
            let mut kept = Document::new();
            kept.extend(interesting.map(|(key, value)| (key.clone(), value.clone())));
            Bson::Document(kept).into_relaxed_extjson().to_string()
        }
        other => other.clone().into_relaxed_extjson().to_string(),
    };
    cut(text)
}

/// The beginning of a text that is too long for a line.
fn cut(text: String) -> String {
    match text.char_indices().nth(DOCUMENT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn is_empty(value: &Bson) -> bool {
    match value {
        Bson::Document(document) => document.is_empty(),
        Bson::Array(array) => array.is_empty(),
        _ => false,
    }
}
