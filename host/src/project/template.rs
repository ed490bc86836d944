//! The files that a new project begins with.

use super::Language;

/// A file of a template.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    /// Its path in the project.
    pub(super) path: &'static str,
    /// Its text, with places to fill in.
    text: &'static str,
}

/// What is filled in.
#[derive(Debug)]
pub(super) struct Values<'a> {
    /// The project's name.
    pub(super) name: &'a str,
    /// The SDK, as the language's manifest names a dependency.
    pub(super) sdk: &'a str,
}

/// What a file of the templates says, by its path there.
macro_rules! file {
    ($path:literal, $from:literal) => {
        File {
            path: $path,
            text: include_str!(concat!("../../templates/", $from)),
        }
    };
}

const RUST: &[File] = &[
    file!("Cargo.toml", "rust/Cargo.toml.in"),
    file!(".cargo/config.toml", "rust/config.toml"),
    file!(".gitignore", "rust/gitignore"),
    file!("README.md", "rust/README.md"),
    file!("src/lib.rs", "rust/src/lib.rs"),
    file!("tests/handler.rs", "rust/tests/handler.rs"),
    file!("ops.jsonl", "ops.jsonl"),
    file!("expected.jsonl", "expected.jsonl"),
];

const ASSEMBLYSCRIPT: &[File] = &[
    file!("package.json", "assemblyscript/package.json.in"),
    file!("asconfig.json", "assemblyscript/asconfig.json"),
    file!(".gitignore", "assemblyscript/gitignore"),
    file!("README.md", "assemblyscript/README.md"),
    file!("assembly/index.ts", "assemblyscript/assembly/index.ts"),
    file!(
        "assembly/tsconfig.json",
        "assemblyscript/assembly/tsconfig.json"
    ),
    file!("ops.jsonl", "ops.jsonl"),
    file!("expected.jsonl", "expected.jsonl"),
];

/// All files of a language's template.
pub(super) fn files(language: Language) -> &'static [File] {
    match language {
        Language::Rust => RUST,
        Language::AssemblyScript => ASSEMBLYSCRIPT,
    }
}

impl File {
    /// The text with everything filled in.
    pub(super) fn filled(&self, values: &Values<'_>) -> String {
        self.text
            .replace("{{name}}", values.name)
            .replace("{{module}}", &values.name.replace('-', "_"))
            .replace("{{sdk}}", values.sdk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in() {
        let values = Values {
            name: "paid-orders",
            sdk: "\"0.1\"",
        };
        for file in [RUST, ASSEMBLYSCRIPT].concat() {
            let text = file.filled(&values);
            assert!(!text.contains("{{"), "{}: {text}", file.path);
            assert!(text.ends_with('\n'), "{}", file.path);
        }
        let manifest = RUST[0].filled(&values);
        assert!(manifest.contains("name = \"paid-orders\""), "{manifest}");
        assert!(manifest.parse::<toml::Table>().is_ok());
    }
}
