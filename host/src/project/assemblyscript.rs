//! AssemblyScript, by asc, as a project's `asconfig.json` says.

use std::process::Command;

use super::{BuildError, BuildOptions, Profile, Project, build::Made, child, toolchain};

/// Compiles a project.
pub(super) fn compile(
    project: &Project,
    options: &BuildOptions,
    on_line: &mut dyn FnMut(&str),
) -> Result<Made, BuildError> {
    let asc = toolchain::asc(&project.folder)?;
    // Below the project, since the compiler takes paths from there; hidden, since it is gone soon.
    let made = format!("build/.{}.{}", std::process::id(), project.module_file());
    let mut command = Command::new(asc);
    command
        .current_dir(&project.folder)
        .args(["--outFile", &made]);
    command.args(match options.profile {
        Profile::Speed => [
            "--target",
            "release",
            "--optimizeLevel",
            "3",
            "--shrinkLevel",
            "0",
        ]
        .as_slice(),
        Profile::Size => &[
            "--target",
            "release",
            "--optimizeLevel",
            "3",
            "--shrinkLevel",
            "2",
            "--converge",
        ],
        Profile::Development => &["--target", "debug"],
    });
    // Names, which backtraces show; they cost a few hundred bytes.
    command.arg("--debug");
    if !options.is_colored {
        command.arg("--noColors");
    }
    on_line(&format!("   Compiling {}", project.name));
    let status = child::run(&mut command, &mut |_, line| on_line(line));
    let status = status.map_err(|source| BuildError::Start {
        program: "asc".into(),
        source,
    })?;
    if !status.success() {
        return Err(BuildError::Failed { program: "asc" });
    }
    Ok(Made {
        path: project.folder.join(made),
        toolchain: "asc",
        is_passing: true,
    })
}
