//! AssemblyScript, by asc, as a project's `asconfig.json` says.

use std::{io, path::Path, process::Command};

use super::{
    BuildError, BuildOptions, Profile, Project, ResidentCompiler, build::Made, child, toolchain,
};

/// Compiles a project; with a compiler that stays, where there is room for one.
pub(super) fn compile(
    project: &Project,
    options: &BuildOptions,
    resident: Option<&mut Option<ResidentCompiler>>,
    on_line: &mut dyn FnMut(&str),
) -> Result<Made, BuildError> {
    let asc = toolchain::asc(&project.folder)?;
    // Below the project, since the compiler takes paths from there; hidden, since it is gone soon.
    let made = format!("build/.{}.{}", std::process::id(), project.module_file());
    let arguments = arguments(options, &made);
    on_line(&format!("   Compiling {}", project.name));
    let stayed = resident.and_then(|resident| {
        let compiled = compile_resident(&project.folder, &asc, &arguments, resident, on_line);
        // Without it, the command does the same, and takes longer.
        compiled.ok()
    });
    let is_compiled = match stayed {
        Some(is_compiled) => is_compiled,
        None => {
            let mut command = Command::new(asc);
            command.current_dir(&project.folder).args(arguments);
            let status = child::run(&mut command, &mut |_, line| on_line(line));
            let status = status.map_err(|source| BuildError::Start {
                program: "asc".into(),
                source,
            })?;
            status.success()
        }
    };
    if !is_compiled {
        return Err(BuildError::Failed { program: "asc" });
    }
    Ok(Made {
        path: project.folder.join(made),
        toolchain: "asc",
        is_passing: true,
    })
}

fn arguments(options: &BuildOptions, made: &str) -> Vec<String> {
    let aim: &[&str] = match options.profile {
        Profile::Speed => &[
            "--target",
            "release",
            "--optimizeLevel",
            "3",
            "--shrinkLevel",
            "0",
        ],
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
    };
    let mut arguments = vec!["--outFile", made];
    arguments.extend(aim);
    // Names, which backtraces show; they cost a few hundred bytes.
    arguments.push("--debug");
    if !options.is_colored {
        arguments.push("--noColors");
    }
    arguments.into_iter().map(str::to_owned).collect()
}

/// Compiles with the compiler that is there, or one that is started now. One that failed is let go.
fn compile_resident(
    folder: &Path,
    asc: &Path,
    arguments: &[String],
    resident: &mut Option<ResidentCompiler>,
    on_line: &mut dyn FnMut(&str),
) -> io::Result<bool> {
    let mut compiler = match resident.take() {
        Some(compiler) => compiler,
        None => ResidentCompiler::start(folder, asc)?,
    };
    let is_compiled = compiler.run(arguments, on_line)?;
    *resident = Some(compiler);
    Ok(is_compiled)
}
