//! `oplet new`

use anstream::eprintln;
use oplet::{
    project::{self, CreateError, Language, NewOptions},
    sink::Stdout,
};

use super::{error::UserError, project_args::NewArgs, talk::Talk};

pub(super) fn new(args: &NewArgs, talk: &Talk) -> Result<(), UserError> {
    let options = NewOptions {
        language: args.lang,
        name: args.name.clone(),
        sdk: args.sdk.clone(),
    };
    let created = project::create(&args.folder, &options)?;
    let mut text = String::new();
    for file in &created.files {
        text.push_str(&format!("{}\n", args.folder.join(file).display()));
    }
    Stdout.write(&text)?;
    if !talk.quiet {
        let name = &created.name;
        let folder = args.folder.display();
        let test = match args.lang {
            Language::Rust => "cargo test",
            Language::AssemblyScript => "npm install && npm test",
        };
        eprintln!("made the handler `{name}`; next: `cd {folder} && {test}`, then `oplet build`");
    }
    Ok(())
}

impl From<CreateError> for UserError {
    fn from(error: CreateError) -> Self {
        let user_error = match error.is_usage() {
            true => Self::refused(error.to_string()),
            false => Self::of(&error),
        };
        let user_error = match &error {
            CreateError::InTheWay { files, .. } => user_error.points(files.iter().copied()),
            _ => user_error,
        };
        error.hint().into_iter().fold(user_error, Self::hint)
    }
}
