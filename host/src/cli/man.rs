//! `oplet man`

use clap::CommandFactory as _;
use clap_mangen::Man;
use oplet::sink::Stdout;

use super::{command::Cli, error::UserError, project_args::ManArgs};

pub(super) fn man(args: &ManArgs) -> Result<(), UserError> {
    let mut command = Cli::command();
    // Passes flags that all verbs share on to them, and gives each its full name.
    command.build();
    if let Some(folder) = &args.out {
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(command, folder));
        return written.map_err(|error| {
            UserError::failed(format!("cannot write manual pages to {}", folder.display()))
                .because(&error)
        });
    }
    let mut page = Vec::new();
    Man::new(of_verb(&command, &args.verb)?.clone())
        .render(&mut page)
        .map_err(|error| UserError::failed("cannot make the manual page").because(&error))?;
    Ok(Stdout.write_bytes(&page)?)
}

fn of_verb<'a>(
    command: &'a clap::Command,
    words: &[String],
) -> Result<&'a clap::Command, UserError> {
    let mut found = command;
    for word in words {
        found = found.find_subcommand(word).ok_or_else(|| {
            let verbs = found.get_subcommands().map(clap::Command::get_name);
            let nearest = verbs.min_by_key(|verb| strsim::damerau_levenshtein(verb, word));
            let refused = UserError::refused(format!("there is no verb `{word}`"));
            match nearest {
                Some(nearest) => refused.hint(format!("did you mean `{nearest}`?")),
                None => refused,
            }
        })?;
    }
    Ok(found)
}
